package agent

import (
	"context"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/text"
)

// reloadInterval is how often the configuration file is read. Two reads of a few
// kilobytes must agree, so a change is in force within twice that.
const reloadInterval = 10 * time.Second

// reload puts a changed configuration in force until ctx is done.
func (a *Agent) reload(ctx context.Context, file *config.File[config.Config], hup <-chan os.Signal) {
	tick := time.NewTicker(reloadInterval)
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
			a.applyConfig(file.Poll(asked))
		}
		if asked {
			for _, t := range a.tasks {
				t.requestPass()
			}
			a.systemd.Ready(text.StatusLine(a.latest.Snapshot()))
		}
	}
}

func (a *Agent) applyConfig(v config.ReloadResult[config.Config]) {
	switch {
	case v.Changed:
		a.config.Store(&v.Config)
		a.metrics.Reloaded(true, time.Now())
		a.log.Info("configuration reloaded")
		a.acts.Add(reporter.Act{Kind: reporter.ActReload, On: "configuration", What: "a new configuration is in force"})
		for _, w := range v.Config.Warnings {
			a.log.Warn("configuration", "warning", w)
		}
		a.recordNodeEvent(corev1.EventTypeNormal, kube.ConfigurationReloaded, "a new configuration is in force")
		a.kube.reconfigure(v.Config.Reporter)
		for _, t := range a.tasks {
			t.requestPass()
		}
	case v.Reverted:
		a.metrics.Reloaded(true, time.Now())
		a.log.Info("configuration file matches the active configuration again")
	case v.Err != nil:
		a.metrics.Reloaded(false, time.Now())
		a.acts.Add(reporter.Act{Kind: reporter.ActReload, On: "configuration", Failed: true, What: "the previous configuration stays in force", Why: v.Err.Error()})
		a.log.Error("configuration rejected; the previous one stays active", "err", v.Err)
		a.recordNodeEvent(corev1.EventTypeWarning, kube.ConfigurationRefused, "the changed configuration is not valid and the one before it stays in force; the log of nodetune says what is wrong")
	}
}
