import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;

/** Counts what was processed, without the threads contending for one number, and says when it passes a mark. */
final class Progress {
    private static final List<Counter> COUNTERS = new CopyOnWriteArrayList<>();

    private Progress() {}

    /** One per processor instance, so one thread writes it; an ordered store costs next to nothing. */
    static final class Counter {
        private final AtomicLong seen = new AtomicLong();
        private long own;

        void add() {
            seen.lazySet(++own);
        }
    }

    static Counter counter() {
        Counter counter = new Counter();
        COUNTERS.add(counter);
        return counter;
    }

    /** Prints a line for each mark. */
    static void watch(long[] marks) throws InterruptedException {
        for (long mark : marks) {
            long seen;
            while ((seen = COUNTERS.stream().mapToLong(counter -> counter.seen.get()).sum()) < mark) {
                Thread.sleep(1);
            }
            say(Map.of("ticks", seen));
        }
    }

    /** One line of JSON on standard output: {@code fields}, seconds of a clock, and the process's CPU seconds. */
    static void say(Map<String, ?> fields) {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Map<String, Object> line = new TreeMap<>(fields);
        line.put("seconds", System.nanoTime() / 1e9);
        line.put("cpu", system.getProcessCpuTime() / 1e9);
        System.out.println(Json.line(line));
    }
}
