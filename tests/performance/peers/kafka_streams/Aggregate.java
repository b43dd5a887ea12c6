import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Positions as the documentation of Kafka Streams would have them written: an aggregate per instrument in a cached
 * store, whose cache conflates what is written. It keeps the promise of exactly once, and serialises with every tick.
 */
final class Aggregate {
    private Aggregate() {}

    static Topology topology(Work work) {
        Json<Tick> ticks = new Json<>(Tick.class);
        Json<Fill> fills = new Json<>(Fill.class);
        Json<Position> positions = new Json<>(Position.class);
        ThreadLocal<Progress.Counter> counter = ThreadLocal.withInitial(Progress::counter);
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, Object> marked = builder.stream(work.ticks(), Consumed.with(Serdes.String(), ticks))
                .mapValues(tick -> (Object) tick);
        KStream<String, Object> filled = builder.stream(work.fills(), Consumed.with(Serdes.String(), fills))
                .mapValues(fill -> (Object) fill);
        marked.merge(filled)
                .groupByKey(Grouped.keySerde(Serdes.String()))
                .aggregate(
                        Book::new,
                        (instrument, event, book) -> {
                            if (event instanceof Fill fill) {
                                book.book(fill);
                            } else {
                                book.apply((Tick) event);
                                counter.get().add();
                            }
                            return book;
                        },
                        Materialized.<String, Book>as(Stores.inMemoryKeyValueStore(Work.STORE))
                                .withKeySerde(Serdes.String())
                                .withValueSerde(new Json<>(Book.class))
                                .withCachingEnabled())
                .toStream()
                .flatMap((instrument, book) -> {
                    List<KeyValue<String, Position>> rows = new ArrayList<>(book.positions.size());
                    for (Position position : book.marked()) {
                        rows.add(KeyValue.pair(position.book + "|" + instrument, position));
                    }
                    return rows;
                })
                .to(work.output(), Produced.with(Serdes.String(), positions));
        return builder.build();
    }
}
