import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

/** The fields of a tick that the work needs; Jackson skips the others without building them. */
@JsonIgnoreProperties(ignoreUnknown = true)
public final class Tick {
    public String instrument;
    public double bid;
    public double ask;
    public long sequence;
    public long event_time;

    double mark() {
        return (bid + ask) * 0.5;
    }
}
