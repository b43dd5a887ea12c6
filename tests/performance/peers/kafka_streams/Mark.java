/** The mark of one instrument. */
public final class Mark {
    public String instrument;
    public double mark;
    public long sequence;
    public long event_time;
}
