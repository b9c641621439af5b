package top

const help = `  Tab 1 2 3 4 5  processes, accounts, pods, disks and logs, what the agent did
                 and why (also Left, Right)
  up down PgUp PgDn Home End (k j)   move the cursor
  Enter          what "nodetune why" reports of the process, or of the one that
                 holds most of the account. Of a pod: its processes.
                 Of an act: all of it
  i w f g p o    sort by instances, watches, share of NOFILE, growth,
                 pid, pod or unit; s or F6: by the next of them
  r              the other way round
  /              show only rows with this text: pid, user, comm, namespace, pod,
                 container, unit; Enter keeps it, Esc drops it (also F3, F4)
  space          pause; once more: go on
  + -            shorter, longer interval
  F5             read again now
  u              what is not known, and why
  ? F1           this help
  Esc            back
  q F10          quit
  mouse          a click selects a line or a tab, a second is Enter

  ! +            before a line: 95 % of a limit are used, or more; 80 % or more
  >              the cursor
  128            exact: what the kernel itself counts
  ≤128           upper bound: a shared descriptor may be counted twice
  ~128           estimate
  9000@5m        counted 5 minutes ago: reading a large one stalls its owner
  +/MIN          growth of the instances, watches or FDs, per minute
  EVENTS         that wait in its fullest queue (not known from /proc)
  FDS/NOFILE     open descriptors and the soft RLIMIT_NOFILE of the process
  FULL IN        until the account reaches its limit if it goes on like this

  An instance or a watch too many fails with EMFILE (24) or ENOSPC (28) for the
  whole account, also for its other processes. "nodetune why PID" names it.`
