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

func newAgent(o *options, log *slog.Logger, cfg Config, store *sysctl.Store, act bool) *agent {
	a := &agent{log: log, kube: newKube(log, nil, "", cfg.Reporter)}
	a.config.Store(&cfg)
	v := buildVersion()
	a.metrics = reporter.NewMetrics(a.latest.Snapshot, a.progress.Passes, reporter.Build{Version: v.Version, Revision: v.Revision, Go: v.Go})
	a.metrics.Reloaded(true, time.Now())
	floors := &floorsTask{agent: a, procfs: o.procfs, store: store, act: act, evidence: evidence{rootfs: o.rootfs}}
	usage := &usageTask{agent: a, options: o, act: act, paused: store.Paused}
	disks := &diskTask{agent: a, options: o}
	hands := &hands{agent: a, options: o, act: act, paused: store.Paused, acts: reporter.NewActs()}
	a.metrics.Register(hands.acts)
	reclaim, bursts := &reclaimTask{hands: hands}, &burstTask{hands: hands}
	refusals := &refusalTask{agent: a, options: o, counts: reporter.NewRefusals()}
	a.metrics.Register(refusals.counts)
	a.end = refusals.end
	counted := newTask("inotify", usage.every, logged(log, "cannot count who uses what", usage.pass))
	usage.look = newLook(usage, counted.soon)
	a.look, a.raise = usage.look.run, floors.now
	a.floors = newTask("sysctl", func() time.Duration { return floorsEvery }, logged(log, "cannot read the kernel's settings", floors.pass))
	a.disks = newTask("disk", disks.every, logged(log, "cannot observe disks and logs", disks.pass))
	a.tasks = []task{
		a.floors,
		counted,
		a.disks,
		newTask("reclaim", reclaim.every, logged(log, "cannot act upon logs", reclaim.pass)),
		newTask("rotate", bursts.every, logged(log, "cannot rotate logs of containers", bursts.pass)),
		newTask("refusals", refusals.every, logged(log, "cannot read what inotify refuses", refusals.pass)),
	}
	return a
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
		a.log.Info("the configuration file holds again what is in force")
	case v.refused != nil:
		a.metrics.Reloaded(false, time.Now())
		a.log.Error("configuration refused; the one before it stays in force", "err", v.refused)
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
		a.log.Warn("systemd's watchdog is not served", "err", err)
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
		Version:     buildVersion().Version,
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
