"""`job-exporter backfill`: what the exporter would have counted had it run then, as OpenMetrics.

Rules:
1. A record counts at its end by the platform's clock, but never before its start; what it counts is
   `counting`'s. Each record that began in the window was discovered then. How late the exporter would
   have been was never measured: `job_exporter_count_lag_seconds` is left out, and so are gauges.
2. A sample at T holds what ended by T. A label set begins with 0 one step before its first increment, its
   siblings with it; label sets whose values are all known begin with the window.
3. Counting is daemon's or backfill's, never both: with a ledger, the backfill ends where live counting began,
   and leaves out what the ledger counted, follows, or saw vanish. What is open is left to the daemon.
4. The platform is read from the window's end downwards: where pages are sorted by start, a deletion of old
   records moves what is still unread only to positions that are still to come. Reading ends where all began
   more than `longest-run` before the window. A record without host rows is in no page, and counts nowhere.
5. Each page is committed to the work file together with what it showed; the output is made from that file,
   in the order of the records' ends. So an interruption costs a page, and changes no byte of the output.

The parts, each importing only those before it:

grid      when a record counts, the times of the samples; PURE
sums      increments in the order of time → the points of each label set; PURE
workfile  the work file
boundary  where live counting began, and which records are its own
reader    platform → work file
writer    work file → output
progress  how far it is
command   flags, one line for what cannot be done
"""
