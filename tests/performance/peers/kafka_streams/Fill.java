import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

/** The fields of a fill that the work needs. Quantity and price are decimal text. */
@JsonIgnoreProperties(ignoreUnknown = true)
public final class Fill {
    public String book;
    public String instrument;
    public String side;
    public double quantity;
    public double price;
    public long event_time;
}
