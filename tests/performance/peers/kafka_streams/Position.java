/** What one book holds of one instrument, by the average cost method, marked at the newest tick. */
public final class Position {
    public String book;
    public String instrument;
    public double quantity;
    public double average_price;
    public Double mark;
    public Double unrealised_pnl;
    public long event_time;

    static Position flat(String book, String instrument) {
        Position position = new Position();
        position.book = book;
        position.instrument = instrument;
        return position;
    }

    /** Fills that open or add; the load has no others. */
    void book(Fill fill) {
        double signed = fill.side.equals("buy") ? fill.quantity : -fill.quantity;
        double cost = quantity * average_price + signed * fill.price;
        quantity += signed;
        average_price = quantity == 0 ? 0 : cost / quantity;
        event_time = Math.max(event_time, fill.event_time);
    }

    void mark(double price, long at) {
        mark = price;
        unrealised_pnl = quantity * (price - average_price);
        event_time = Math.max(event_time, at);
    }
}
