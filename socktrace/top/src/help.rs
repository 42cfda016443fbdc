//! Help page for the keys.

/// Keys and their effects.
pub(crate) const KEYS: [(&str, &str); 17] = [
    ("j k, arrows", "down and up"),
    ("g G, Home End", "to the first and the last"),
    ("PgUp PgDn", "a page"),
    ("Enter", "unfold; on an event, or where there is nothing to unfold, show all details"),
    ("Esc", "fold; back"),
    ("Tab, 1 2 3 4", "by service, by cause, by peer, the events"),
    ("/", "filter, as on the command line: errno ECONNRESET unit nginx* not-port 443"),
    ("s", "sort by: now (5 s), 1m, 15m, last, name"),
    ("a", "group by something else below the first level"),
    ("space", "freeze; counting goes on"),
    ("y", "copy the filter as a command line"),
    ("[ ]", "step through a history; { } step 60 times as far"),
    ("Ctrl-L", "redraw the screen"),
    ("?", "this page"),
    ("q, Ctrl-C", "end"),
    ("! * .", "failure, notable, expected; + there is more below, - it is shown"),
    ("└", "follows from a failure of the same socket"),
];
