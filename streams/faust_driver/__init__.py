"""The same processors on faust-streaming: at least once, for those who run Faust already. See docs/faust.md."""
