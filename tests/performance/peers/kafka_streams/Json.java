import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.module.afterburner.AfterburnerModule;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/** Jackson as fast as it goes: prepared readers and writers, bytecode instead of reflection. */
final class Json<T> implements Serde<T> {
    private static final ObjectMapper MAPPER = new ObjectMapper().registerModule(new AfterburnerModule());
    private final ObjectReader reader;
    private final ObjectWriter writer;

    Json(Class<T> type) {
        reader = MAPPER.readerFor(type);
        writer = MAPPER.writerFor(type);
    }

    T read(byte[] bytes) {
        try {
            return reader.readValue(bytes);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    byte[] write(T value) {
        try {
            return writer.writeValueAsBytes(value);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static String line(Map<String, ?> fields) {
        return new String(new Json<>(Map.class).write(fields));
    }

    @Override
    public Serializer<T> serializer() {
        return (topic, value) -> value == null ? null : write(value);
    }

    @Override
    public Deserializer<T> deserializer() {
        return (topic, bytes) -> bytes == null ? null : read(bytes);
    }
}
