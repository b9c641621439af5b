package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// lines returns those of text that begin with one of the families.
func lines(text string, families ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, f := range families {
			if strings.HasPrefix(line, f+"{") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// Who holds the most is counted by name in the fullest account: sixty processes of one
// pod are one cause, and those of another user are none.
func TestTopConsumerOfEachLimit(t *testing.T) {
	owner := inotify.Owner{UserNS: inotify.InitialUserNS, UID: 1000}
	u := inotify.Usage{
		Limits: inotify.Limits{FileMax: 10000, OpenFiles: 9000},
		Accounts: []inotify.Account{
			{Owner: inotify.Owner{UserNS: 9, UID: 5}, Level: 1, Instances: 5, InstancesLimit: 5, WatchesLimit: 5},
			{Owner: owner, Instances: 120, InstancesLimit: 128, Watches: 30, WatchesLimit: 1000},
			{Owner: inotify.Owner{UserNS: inotify.InitialUserNS}, Instances: 64, InstancesLimit: 128, Watches: 700, WatchesLimit: 1000},
			{Owner: inotify.Owner{UserNS: inotify.InitialUserNS, UID: 7}, InstancesQuality: inotify.Unknown, Instances: 128, InstancesLimit: 128, WatchesLimit: inotify.NoLimit},
		},
		Processes: []inotify.Process{
			{Comm: "kubelet", UserNS: inotify.InitialUserNS, Unit: "kubelet.service", Instances: 64, Watches: 700, FDs: 256},
			{Comm: "single", UserNS: inotify.InitialUserNS, UID: 1000, Instances: 50, FDs: 4000},
		},
	}
	for i := range 60 {
		u.Processes = append(u.Processes, inotify.Process{PID: i, Comm: "node", UserNS: inotify.InitialUserNS, UID: 1000, Namespace: "ci", Pod: "build-7", Container: "runner", Instances: 1, FDs: 100})
	}
	s := reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{At: time.Now(), Value: u}}
	const want = `nodetune_limit_top_consumer_ratio{comm="kubelet",container="",namespace="",pod="",resource="inotify_watches",unit="kubelet.service"} 0.7
nodetune_limit_top_consumer_ratio{comm="node",container="runner",namespace="ci",pod="build-7",resource="inotify_instances",unit=""} 0.46875
nodetune_limit_top_consumer_ratio{comm="node",container="runner",namespace="ci",pod="build-7",resource="open_files",unit=""} 0.6
`
	if got := lines(exposition(t, s), "nodetune_limit_top_consumer_ratio"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// Children that share the instances of their parent do not make them more.
	for i := range u.Processes {
		u.Processes[i].Instances = 50
	}
	s.Inotify.Value = u
	if got := lines(exposition(t, s), "nodetune_limit_top_consumer_ratio"); !strings.Contains(got, `resource="inotify_instances",unit=""} 0.9375`) {
		t.Errorf("got\n%s", got)
	}
}

func TestCollectorsThatLose(t *testing.T) {
	since := time.Now()
	who := workload.Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"}
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{At: since, Value: disk.Usage{Readers: []logs.Reader{
		{PID: 1, Comm: "fluent-bit", Who: who, PredictedLossBytes: 100, StalledSince: &since},
		{PID: 2, Comm: "fluent-bit", Who: who, PredictedLossBytes: 20, StalledSince: &since},
		{PID: 3, Comm: "rsyslogd", Who: workload.Workload{Unit: "rsyslog.service"}},
	}}}}
	families := []string{"nodetune_log_collector_predicted_loss_bytes", "nodetune_log_collector_stalled_logs"}
	const want = `nodetune_log_collector_predicted_loss_bytes{comm="fluent-bit",container="fluent-bit",namespace="logging",pod="fluent-bit-x7k2p",unit=""} 120
nodetune_log_collector_predicted_loss_bytes{comm="rsyslogd",container="",namespace="",pod="",unit="rsyslog.service"} 0
nodetune_log_collector_stalled_logs{comm="fluent-bit",container="fluent-bit",namespace="logging",pod="fluent-bit-x7k2p",unit=""} 2
nodetune_log_collector_stalled_logs{comm="rsyslogd",container="",namespace="",pod="",unit="rsyslog.service"} 0
`
	if got := lines(exposition(t, s), families...); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for i := range 500 {
		s.Disk.Value.Readers = append(s.Disk.Value.Readers, logs.Reader{PID: i, Comm: fmt.Sprint(i), PredictedLossBytes: uint64(i), StalledSince: &since})
	}
	if n := strings.Count(lines(exposition(t, s), families...), "\n"); n != 2*topSeries {
		t.Errorf("%d series, want %d", n, 2*topSeries)
	}
}
