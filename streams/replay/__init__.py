"""Walking the journal again: the same processors, fed what they were fed, must write what they wrote."""
