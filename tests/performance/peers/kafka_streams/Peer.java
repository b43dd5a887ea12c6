import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.Stores;

/** The benchmark's work in Kafka Streams. Runs until its standard input ends. */
public final class Peer {
    private Peer() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Work work = Work.of(arguments);
        Topology topology = work.kind().equals("aggregate") ? Aggregate.topology(work) : topology(work);
        KafkaStreams streams = new KafkaStreams(topology, settings(work));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        long before = heap();
        AtomicLong restored = new AtomicLong();
        streams.setStateListener((now, old) -> {
            if (now == KafkaStreams.State.RUNNING) {
                Progress.say(Map.of("running", true, "restored", restored.get()));
            }
        });
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition place, String store, long first, long end) {}

            @Override
            public void onBatchRestored(TopicPartition place, String store, long end, long count) {}

            @Override
            public void onRestoreEnd(TopicPartition place, String store, long count) {
                restored.addAndGet(count);
            }
        });
        Progress.say(Map.of("started", true));
        streams.start();
        Thread watch = new Thread(() -> {
            try {
                Progress.watch(work.marks());
            } catch (InterruptedException end) {
                Thread.currentThread().interrupt();
            }
        });
        watch.setDaemon(true);
        watch.start();
        while (System.in.read() == '?') {
            Progress.say(Map.of("heap_bytes", heap() - before));
        }
        // Without leaving, the next start would wait 45 s for this member.
        streams.close(CloseOptions.timeout(Duration.ofSeconds(10))
                .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        Runtime.getRuntime().halt(0);
    }

    private static long heap() {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }

    private static Topology topology(Work work) {
        Topology topology = new Topology();
        boolean each = work.kind().equals("marks");
        String[] inputs = each ? new String[] {work.ticks()} : new String[] {work.ticks(), work.fills()};
        ProcessorSupplier<String, byte[], String, byte[]> supplier = each ? Each::new : () -> new Conflated(work);
        topology.addSource("input", new StringDeserializer(), new ByteArrayDeserializer(), inputs);
        topology.addProcessor("work", supplier, "input");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(
                                Stores.inMemoryKeyValueStore(Work.STORE), Serdes.String(), Serdes.ByteArray())
                        .withCachingEnabled(),
                "work");
        topology.addSink("output", work.output(), new StringSerializer(), new ByteArraySerializer(), "work");
        return topology;
    }

    /** The defaults, but for what is known to help throughput; the same commit interval as the others. */
    private static Properties settings(Work work) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, work.kafka());
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, work.group());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, work.commitMillis());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, work.threads());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, work.state());
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 << 20);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put("auto.offset.reset", "earliest");
        settings.put("consumer.max.poll.records", 10_000);
        settings.put("consumer.max.partition.fetch.bytes", 4 << 20);
        settings.put("consumer.fetch.max.wait.ms", 10);
        settings.put("producer.compression.type", "lz4");
        settings.put("producer.linger.ms", 5);
        settings.put("producer.batch.size", 256 << 10);
        return settings;
    }
}
