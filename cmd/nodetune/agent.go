package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// agent is what the tasks of `nodetune run` share. Each task replaces its own
// part of latest; whoever reports reads latest and waits for nobody.
type agent struct {
	log      *slog.Logger
	file     *configFile[Config]
	server   Server
	config   atomic.Pointer[Config]
	latest   reporter.Latest
	progress reporter.Progress
	metrics  *reporter.Metrics
	systemd  reporter.Systemd
	kube     *kube
	needs    needs
	refused  inotify.Refused // lately
	raised   raised
	floors   task                       // the one that needs are for
	raise    func(context.Context) bool // writes them at once
	disks    task                       // the one that raised is for
	tasks    []task
	look     func(context.Context) // between the passes
	end      func()                // of what is not to outlive the agent
	ready    sync.Once
}

// AgentOptions are what an agent is made of.
type AgentOptions struct {
	Roots  Roots
	Log    *slog.Logger
	Config Config
	File   *configFile[Config] // polled for changes; nil: the built-in configuration
	Store  *sysctl.Store
	Act    bool             // else it writes nothing
	Client *reporter.Client // nil: without Kubernetes
	Node   string           // the Node's name
	Server Server
}

// newAgent returns an agent that does nothing yet.
func newAgent(o AgentOptions) *agent {
	a := &agent{log: o.Log, file: o.File, server: o.Server, kube: newKube(o.Log, o.Client, o.Node, o.Config.Reporter)}
	a.config.Store(&o.Config)
	v := buildInfo()
	a.metrics = reporter.NewMetrics(a.latest.Snapshot, a.progress.Passes, reporter.Build{Version: v.Version, Revision: v.Revision, Go: v.Go})
	a.metrics.Reloaded(true, time.Now())
	a.metrics.Register(reporter.NodeMetrics(a.kube.node, a.kube.events, a.kube.pods.stats))
	floors := &floorsTask{agent: a, procfs: o.Roots.Procfs, store: o.Store, act: o.Act, evidence: evidence{rootfs: o.Roots.Rootfs}}
	usage := &usageTask{agent: a, roots: o.Roots, act: o.Act, paused: o.Store.Paused}
	disks := &diskTask{agent: a, roots: o.Roots}
	actions := &hands{agent: a, roots: o.Roots, act: o.Act, paused: o.Store.Paused, acts: reporter.NewActs()}
	a.metrics.Register(actions.acts)
	reclaim, rotation := &reclaimTask{hands: actions}, &burstTask{hands: actions}
	failures := &refusalTask{agent: a, roots: o.Roots, counts: reporter.NewRefusals()}
	a.metrics.Register(failures.counts)
	a.end = failures.end
	counted := newTask("inotify", usage.every, logged(o.Log, "cannot count inotify usage", usage.pass))
	usage.look = newLook(usage, counted.soon)
	a.look, a.raise = usage.look.run, floors.now
	a.floors = newTask("sysctl", func() time.Duration { return floorsEvery }, logged(o.Log, "cannot read sysctls", floors.pass))
	a.disks = newTask("disk", disks.every, logged(o.Log, "cannot observe disks and logs", disks.pass))
	a.tasks = []task{
		a.floors,
		counted,
		a.disks,
		newTask("reclaim", reclaim.every, logged(o.Log, "cannot rotate logs or reclaim space", reclaim.pass)),
		newTask("rotate", rotation.every, logged(o.Log, "cannot rotate container logs", rotation.pass)),
		newTask("refusals", failures.every, logged(o.Log, "cannot read failed inotify calls", failures.pass)),
	}
	return a
}

// run runs every task until ctx is done. A signal on hup makes it read the
// configuration again and begin a pass of every task.
func (a *agent) run(ctx context.Context, hup <-chan os.Signal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, addr := range a.server.Addresses {
		go a.server.serve(ctx, addr, a.web(), a.log)
	}
	go a.kube.run(ctx, a.config.Load, a.tell)
	go a.watchdog(ctx)
	go a.look(ctx)
	go a.reload(ctx, a.file, hup)
	loop(ctx, a.tasks, &a.progress)
	a.end()
	a.systemd.Stopping()
}

// said follows every pass.
func (a *agent) said() {
	s := a.latest.Snapshot()
	line := reporter.StatusLine(s)
	if !s.Sysctl.At.IsZero() { // the floors are what others wait for
		a.ready.Do(func() { a.systemd.Ready(line) })
	}
	a.systemd.Status(line)
	a.tell()
}

// tell settles the conditions, and asks the floors' task for what pods ask for.
func (a *agent) tell() {
	s, cfg, now := a.latest.Snapshot(), a.config.Load(), time.Now()
	a.kube.say(s, cfg, now)
	more := false
	for _, n := range a.kube.pods.needs(s, cfg.Reporter.PodDemands, now) {
		more = a.needs.ask(n) || more
	}
	if more {
		a.floors.soon()
	}
}

// reloadEvery is how often the configuration file is read. Two reads of a few
// kilobytes must agree, so a change is in force within twice that.
const reloadEvery = 10 * time.Second

// reload puts a changed configuration in force until ctx is done.
func (a *agent) reload(ctx context.Context, file *configFile[Config], hup <-chan os.Signal) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			asked = true
			a.systemd.Reloading()
		case <-tick.C:
		}
		if file != nil {
			a.take(file.poll(asked))
		}
		if asked {
			for _, t := range a.tasks {
				t.soon()
			}
			a.systemd.Ready(reporter.StatusLine(a.latest.Snapshot()))
		}
	}
}

func (a *agent) take(v verdict[Config]) {
	switch {
	case v.changed:
		a.config.Store(&v.config)
		a.metrics.Reloaded(true, time.Now())
		a.log.Info("configuration reloaded")
		a.event(corev1.EventTypeNormal, reporter.ConfigurationReloaded, "a new configuration is in force")
		a.kube.configured(v.config.Reporter)
		for _, t := range a.tasks {
			t.soon()
		}
	case v.mended:
		a.metrics.Reloaded(true, time.Now())
		a.log.Info("configuration file matches the active configuration again")
	case v.refused != nil:
		a.metrics.Reloaded(false, time.Now())
		a.log.Error("configuration rejected; the previous one stays active", "err", v.refused)
		a.event(corev1.EventTypeWarning, reporter.ConfigurationRefused, "the changed configuration is not valid and the one before it stays in force; the log of nodetune says what is wrong")
	}
}

// event tells the Node's readers, if there is an API server. Messages carry no
// number, so that equal ones are counted and not repeated.
func (a *agent) event(kind, reason, message string) {
	if e := a.kube.events; e != nil {
		e.Say(e.OnNode(kind, reason, message), time.Now())
	}
}

func (a *agent) watchdog(ctx context.Context) {
	err := a.systemd.Watchdog(ctx, func(now time.Time) error { return reporter.Live(a.progress.Passes(), now) })
	if err != nil {
		a.log.Warn("cannot notify the watchdog of systemd", "err", err)
	}
}

// web serves what the agent knows. Nothing in it asks another machine.
func (a *agent) web() http.Handler {
	var names []string
	for _, t := range a.tasks {
		names = append(names, t.name)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.Handle("GET /livez", reporter.Probe(&a.progress, reporter.Live))
	mux.Handle("GET /readyz", reporter.Probe(&a.progress, func(passes []reporter.Pass, now time.Time) error {
		return reporter.Ready(names, passes, now)
	}))
	mux.HandleFunc("GET /report", a.report)
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        "nodetune",
		Description: "Holds this node's inotify and file-descriptor limits above safe floors",
		Version:     buildInfo().Version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: "metrics", Text: "Metrics", Description: "for Prometheus"},
			{Address: "report", Text: "Report", Description: "what 'nodetune check -o json' prints"},
			{Address: "readyz", Text: "Ready", Description: "configuration loaded and every task's first pass done"},
			{Address: "livez", Text: "Alive", Description: "passes end in time"},
		},
	})
	if err == nil { // its template is compiled in
		mux.Handle("GET /{$}", landing)
	}
	return mux
}

// report is the document of `check -o json`, of the last passes.
func (a *agent) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(reporter.NewDocument(a.latest.Snapshot())) // the client is gone
}
