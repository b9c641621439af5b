// Package agent runs the tasks of `nodetune run` and publishes their results.
//
// Each task is one goroutine that repeats a pass over one subsystem: sysctls,
// inotify usage, disks, reclaiming, container logs, failed system calls. A pass
// that hangs makes only its own result stale. Every pass updates one Snapshot,
// which conditions, Events, metrics, probes and the log are made of.
//
// The agent needs uid 0 and a writable /proc/sys. It changes nothing when it
// ends: every limit keeps its value.
package agent

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/reporter/web"
	"github.com/nodetune/nodetune/sysctl"
)

// Agent is what the tasks of `nodetune run` share. Each task replaces its own
// part of latest; readers load latest without blocking.
type Agent struct {
	log           *slog.Logger
	file          *config.File[config.Config]
	server        web.Server
	webHandlers   web.Handlers
	config        atomic.Pointer[config.Config]
	latest        reporter.Store
	acts          reporter.Acts // what nodetune did lately
	progress      health.Progress
	metrics       *metrics.Exporter
	systemd       health.Systemd
	kube          *kubernetes
	floorRequests floorRequests
	failures      inotify.RecentFailures // lately
	refusals      atomic.Pointer[inotify.RefusalSource]
	usage         atomic.Pointer[accounting.Source] // or nil
	raisedKeys    raisedKeys
	sysctlTask    task                       // the one that needs are for
	raiseNow      func(context.Context) bool // writes them at once
	diskTask      task                       // the one that raised is for
	tasks         []task
	background    sync.WaitGroup        // what passes have begun and do not wait for
	watchSurges   func(context.Context) // between the passes
	stopTracing   func()                // of what is not to outlive the agent
	dryRun        bool
	roots         host.Roots
	guard         *guardTask // what it saw belongs to the result of a sysctl pass
	ready         sync.Once
}

// Options are what an agent is made of.
type Options struct {
	Roots  host.Roots
	Log    *slog.Logger
	Config config.Config
	File   *config.File[config.Config] // polled for changes; nil: the built-in configuration
	Store  *sysctl.Store
	Act    bool         // else it writes nothing
	Locked bool         // the agent lock is taken until Run has returned
	Client *kube.Client // nil: without Kubernetes
	Node   string       // the Node's name
	Server web.Server
}

// New returns an agent that does nothing yet.
func New(o Options) *Agent {
	a := &Agent{dryRun: !o.Act, roots: o.Roots, log: o.Log, file: o.File, server: o.Server, kube: newKube(o.Log, o.Client, o.Node, o.Config.Reporter)}
	a.server.Procfs, a.server.Refused = o.Roots.Procfs, new(web.Refused)
	a.kube.acts = &a.acts
	a.config.Store(&o.Config)
	v := version.Read()
	a.metrics = metrics.NewExporter(a.latest.Snapshot, a.progress.Passes, metrics.Build{Version: v.Version, Revision: v.Revision, Go: v.Go})
	a.metrics.Reloaded(true, time.Now())
	a.metrics.Register(metrics.NewNode(a.kube.node, a.kube.events, a.kube.pods.stats))
	floors := &sysctlTask{agent: a, procfs: o.Roots.Procfs, store: o.Store, act: o.Act, evidence: conflictEvidence{rootfs: o.Roots.Rootfs}}
	usage := &inotifyTask{agent: a, roots: o.Roots, act: o.Act, paused: o.Store.Paused, nofileRaises: metrics.NewNOFILERaises()}
	a.metrics.Register(usage.nofileRaises)
	disks := &diskTask{agent: a, roots: o.Roots}
	actions := &diskActions{agent: a, roots: o.Roots, act: o.Act, paused: o.Store.Paused, counts: metrics.NewDiskActions()}
	a.metrics.Register(actions.counts)
	reclaim, rotation := &reclaimTask{diskActions: actions}, &containerRotationTask{diskActions: actions}
	unread := &ledgerTask{diskActions: actions}
	failures := &failureTask{agent: a, roots: o.Roots, counts: metrics.NewSyscallFailures()}
	a.metrics.Register(failures.counts)
	a.stopTracing = failures.stop
	a.guard = newGuardTask(a, o)
	a.metrics.Register(metrics.NewGuard(a.guard.counts))
	a.metrics.Register(metrics.NewRefused(a.server.Refused.Counts))
	counted := newTask("inotify", usage.interval, logErrors(o.Log, "cannot count inotify usage", usage.pass))
	usage.surges = newSurgeWatcher(usage, counted.requestPass)
	a.watchSurges, a.raiseNow = usage.surges.run, floors.writeNow
	a.sysctlTask = newTask("sysctl", func() time.Duration { return sysctlInterval }, logErrors(o.Log, "cannot read sysctls", floors.pass))
	a.diskTask = newTask("disk", disks.interval, logErrors(o.Log, "cannot observe disks and logs", disks.pass))
	a.tasks = []task{
		a.sysctlTask,
		counted,
		a.diskTask,
		newTask("reclaim", reclaim.interval, logErrors(o.Log, "cannot rotate logs or reclaim space", reclaim.pass)),
		newTask("rotate", rotation.interval, logErrors(o.Log, "cannot rotate container logs", rotation.pass)),
		newTask("ledger", unread.interval, logErrors(o.Log, "cannot count what collectors read", unread.pass)),
		newTask("guard", a.guard.interval, logErrors(o.Log, "cannot run the sysctl guard", a.guard.pass)),
		newTask("refusals", failures.interval, logErrors(o.Log, "cannot read failed inotify calls", failures.pass)),
	}
	a.webHandlers = a.handlers(o.Client)
	return a
}

// Run runs every task until ctx is done. A signal on hup makes it read the
// configuration again and begin a pass of every task.
func (a *Agent) Run(ctx context.Context, hup <-chan os.Signal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, addr := range a.server.Addresses {
		go a.server.Serve(ctx, addr, a.webHandlers, a.log)
	}
	go a.kube.run(ctx, a.config.Load, a.evaluateConditions)
	go a.proveNodePolicy(ctx)
	go a.watchdog(ctx)
	go a.watchSurges(ctx)
	go a.reload(ctx, a.file, hup)
	runTasks(ctx, a.tasks, &a.background, &a.progress)
	a.stopTracing()
	a.guard.stop()
	a.systemd.Stopping()
}

// publish follows every pass.
func (a *Agent) publish() {
	s := a.latest.Snapshot()
	line := text.StatusLine(s)
	if !s.Sysctl.At.IsZero() { // the floors are what others wait for
		a.ready.Do(func() { a.systemd.Ready(line) })
	}
	a.systemd.Status(line)
	a.evaluateConditions()
}

// evaluateConditions settles the conditions, and asks the floors' task for what pods ask for.
func (a *Agent) evaluateConditions() {
	s, cfg, now := a.latest.Snapshot(), a.config.Load(), time.Now()
	a.kube.publish(s, cfg, now)
	more := false
	for _, n := range a.kube.pods.floorRequests(s, cfg.Reporter.PodDemands, now) {
		more = a.floorRequests.request(n) || more
	}
	if more {
		a.sysctlTask.requestPass()
	}
}

// recordNodeEvent writes an Event on the Node, if there is an API server. Messages carry
// no number, so that equal ones are counted and not repeated.
func (a *Agent) recordNodeEvent(kind, reason, message string) {
	if e := a.kube.events; e != nil {
		e.Record(e.OnNode(kind, reason, message), time.Now())
	}
}

func (a *Agent) watchdog(ctx context.Context) {
	err := a.systemd.Watchdog(ctx, func(now time.Time) error { return health.Live(a.sysctlTask.name)(a.progress.Passes(), now) })
	if err != nil {
		a.log.Warn("cannot notify the watchdog of systemd", "err", err)
	}
}
