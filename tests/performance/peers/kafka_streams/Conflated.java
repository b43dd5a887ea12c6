import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Positions, every tick applied, written once per interval. The fastest form that was found: the live objects are kept
 * beside the store, and only the interval's changed ones are serialised. It favours Kafka Streams: an interval that was
 * not yet written when the process is killed is lost, though its offsets may have been committed.
 */
final class Conflated implements Processor<String, byte[], String, byte[]> {
    private final Progress.Counter counter = Progress.counter();
    private final Json<Tick> ticks = new Json<>(Tick.class);
    private final Json<Fill> fills = new Json<>(Fill.class);
    private final Json<Book> books = new Json<>(Book.class);
    private final Json<Position> positions = new Json<>(Position.class);
    private final Map<String, Book> live = new HashMap<>();
    private final Set<String> changed = new HashSet<>();
    private final Work work;
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> store;

    Conflated(Work work) {
        this.work = work;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
        context = given;
        store = context.getStateStore(Work.STORE);
        try (KeyValueIterator<String, byte[]> all = store.all()) {
            while (all.hasNext()) {
                KeyValue<String, byte[]> next = all.next();
                live.put(next.key, books.read(next.value));
            }
        }
        context.schedule(Duration.ofMillis(work.commitMillis()), PunctuationType.WALL_CLOCK_TIME, this::write);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        if (context.recordMetadata().orElseThrow().topic().equals(work.fills())) {
            Fill fill = fills.read(record.value());
            live.computeIfAbsent(fill.instrument, name -> new Book()).book(fill);
            changed.add(fill.instrument);
            return;
        }
        Tick tick = ticks.read(record.value());
        live.computeIfAbsent(tick.instrument, name -> new Book()).apply(tick);
        changed.add(tick.instrument);
        counter.add();
    }

    private void write(long now) {
        for (String instrument : changed) {
            Book book = live.get(instrument);
            for (Position position : book.marked()) {
                context.forward(new Record<>(position.book + "|" + instrument, positions.write(position), now));
            }
            store.put(instrument, books.write(book));
        }
        changed.clear();
    }
}
