import java.util.HashMap;
import java.util.Map;

/** What to do, from the command line: pairs of --name value. */
record Work(
        String kafka,
        String group,
        String kind,
        String ticks,
        String fills,
        String output,
        int threads,
        int commitMillis,
        long[] marks,
        String state) {
    static final String STORE = "state";

    static Work of(String[] arguments) {
        Map<String, String> given = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            given.put(arguments[i], arguments[i + 1]);
        }
        String[] marks = given.getOrDefault("--marks", "").split(",");
        long[] counts = new long[given.getOrDefault("--marks", "").isEmpty() ? 0 : marks.length];
        for (int i = 0; i < counts.length; i++) {
            counts[i] = Long.parseLong(marks[i]);
        }
        return new Work(
                given.get("--kafka"),
                given.get("--group"),
                given.get("--work"),
                given.get("--ticks"),
                given.get("--fills"),
                given.get("--output"),
                Integer.parseInt(given.getOrDefault("--workers", "1")),
                Integer.parseInt(given.getOrDefault("--commit-ms", "100")),
                counts,
                given.get("--state"));
    }
}
