import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** The newest mark per instrument in the store, and one output for every tick. */
final class Each implements Processor<String, byte[], String, byte[]> {
    private final Progress.Counter counter = Progress.counter();
    private final Json<Tick> ticks = new Json<>(Tick.class);
    private final Json<Mark> marks = new Json<>(Mark.class);
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> store;

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
        context = given;
        store = context.getStateStore(Work.STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        Tick tick = ticks.read(record.value());
        Mark mark = new Mark();
        mark.instrument = tick.instrument;
        mark.mark = tick.mark();
        mark.sequence = tick.sequence;
        mark.event_time = tick.event_time;
        byte[] written = marks.write(mark);
        store.put(tick.instrument, written);
        context.forward(record.withValue(written));
        counter.add();
    }
}
