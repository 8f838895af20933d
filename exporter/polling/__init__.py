"""One poll, its schedule, and replicas.

`poller` runs a poll in rounds: fetch, decide, commit, publish. `fetch` asks the platform. `schedule` starts
polls. `replica` keeps the lead, or follows and takes over.
"""
