package text

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// The table of an account of which nothing could be read has no figure.
func TestWhyTableOfWhatCouldNotBeRead(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts, u.InstancesQuality, u.WatchesQuality = nil, inotify.Estimate, inotify.Estimate
	p, _ := u.Process(4711)
	p.Quality = inotify.Unknown
	d := diagnosis.Why(inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}, 0, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	var b strings.Builder
	if err := DiagnosisTable(&b, d, false); err != nil || !strings.Contains(b.String(), "uid 0     ?     128         24 EMFILE") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestWhyTable(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts[0].Instances = 128
	u.Processes[0].Comm = "evil\x1b[2J"
	p, _ := u.Process(4711)
	var b strings.Builder
	d := diagnosis.Why(inotify.ProcessDetail{Process: p, LowestFD: 100, FDsQuality: inotify.Exact, SysAdmin: true}, 0, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	if err := DiagnosisTable(&b, d, false); err != nil {
		t.Fatal(err)
	}
	want := `4711 fluent-bit, uid 0, logging/fluent-bit-x7k2p:fluent-bit
it is fs.inotify.max_user_instances: uid 0 uses 128 of 128, so the next one is refused with EMFILE (24)

LIMIT                          OF        USED  LIMIT   %     ERRNO      MOST HELD BY
fs.inotify.max_user_instances  uid 0     128   128     100%  24 EMFILE  evil\x1b[2J[812] 50, fluent-bit[4711] 2
RLIMIT_NOFILE                  pid 4711  100   1024    9%    24 EMFILE  fluent-bit[4711] 100
fs.file-max                    the node  5000  100000  5%    23 ENFILE  does not apply to it: has CAP_SYS_ADMIN
fs.inotify.max_user_watches    uid 0     400   8192    4%    28 ENOSPC  evil\x1b[2J[812] 300, fluent-bit[4711] 90

What helps
  nodetune apply raises fs.inotify.max_user_instances from 128 to 8192; it takes effect at once, nothing needs a restart
  most is held by pid 812 (evil\x1b[2J) of kubelet.service: 50; instances and watches come back when it ends
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
