import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;

/** Everything that is held of one instrument: the state of one key. */
public final class Book {
    public double mark;
    public long marked_at;
    public Map<String, Position> positions = new TreeMap<>();

    void book(Fill fill) {
        positions.computeIfAbsent(fill.book, name -> Position.flat(name, fill.instrument)).book(fill);
    }

    /** All that a tick costs here: what follows from it is worked out when it is written. */
    void apply(Tick tick) {
        mark = tick.mark();
        marked_at = tick.event_time;
    }

    /** The positions at the newest mark. */
    Collection<Position> marked() {
        if (marked_at > 0) {
            for (Position position : positions.values()) {
                position.mark(mark, marked_at);
            }
        }
        return positions.values();
    }
}
