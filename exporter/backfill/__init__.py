"""The command `backfill`: what the exporter would have counted before it was started, as OpenMetrics.

Rules:
1. A record counts at its end by the platform's clock, or at its start if that is later. `tracking.counting`
   says what it counts. Each record that began in the window counts as discovered then. Gauges are left out,
   and so are metrics of the exporter's own work, such as `job_exporter_count_lag_seconds`.
2. A sample at time T includes what ended up to T. A label set begins with 0 one step before its first
   increment, together with its siblings; label sets that are known in advance begin with the window.
3. No record is counted both by the daemon and by a backfill. With a ledger, the backfill ends where live
   counting began, and leaves out what the ledger has counted, follows, or saw vanish. Open records are left
   to the daemon.
4. Pages are read from the end of the window towards older records, so that a deletion of old records moves
   unread ones only to positions that will be read. Reading ends at records that began `longest-run` before
   the window. Records without host rows are on no page and are not counted.
5. Each page goes into the work file in one transaction, together with the position of the reading. The output
   is made from the work file, sorted by the ends of records. So an interruption costs at most one page and
   does not change the output.

The modules; each imports only those before it:

samples   when a record counts, times and values of the samples; pure
workfile  the work file
boundary  where live counting began, and which records the daemon counts
reader    platform → work file
writer    work file → output
progress  how far it is
command   flags and errors
"""
