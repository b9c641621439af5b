package diagnosis

import (
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

func TestWhy(t *testing.T) {
	above := map[uint64][]inotify.Owner{7: {{UserNS: inotify.InitialUserNS}}}
	for _, c := range []struct {
		name    string
		pid     int
		errno   int
		change  func(u *inotify.Usage, s *inotify.ProcessDetail)
		limit   inotify.Resource
		reached bool
		setting string // of the first limit of that resource that matters
		says    string // in the summary or the advice
	}{
		{"nothing is short: the fullest", 4711, 0, func(*inotify.Usage, *inotify.ProcessDetail) {}, inotify.Instances, false, "", "no limit is reached; the next would be fs.inotify.max_user_instances: uid 0 uses 60 of 128"},
		{"instances", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 128 }, inotify.Instances, true, "", "nodetune apply raises fs.inotify.max_user_instances from 128 to 8192"},
		{"instances beyond a lowered limit", 4711, 24, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 140 }, inotify.Instances, true, "", "EMFILE (24)"},
		{"the holder is named", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 128 }, inotify.Instances, true, "", "pid 812 (kubelet) of kubelet.service: 50"},
		{"an upper bound", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) {
			u.Accounts[0].Instances, u.Accounts[0].InstancesQuality = 128, inotify.UpperBound
		}, inotify.Instances, true, "", "uses at most 128"},
		{"the canary knows better", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) {
			u.Accounts[0].Instances, u.Accounts[0].Headroom = 128, &inotify.Headroom{Granted: 2, Exact: true}
		}, inotify.Instances, false, "", "no limit is reached"},
		{"the canary knows worse", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) {
			u.Accounts[0].Headroom = &inotify.Headroom{Exact: true}
		}, inotify.Instances, true, "", "(the kernel granted 0 more to a probe), so the next one is refused with EMFILE"},
		{"NOFILE", 4711, 0, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1024, 1024 }, inotify.NOFILE, true, "", "no sysctl raises it"},
		{"NOFILE of a pod", 4711, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1024, 1024 }, inotify.NOFILE, true, "", "systemctl edit containerd.service"},
		{"NOFILE of a unit", 812, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1000000, 1000000 }, inotify.NOFILE, true, "", "systemctl edit kubelet.service, [Service] LimitNOFILE=2000000:2000000"},
		{"NOFILE raised without a restart", 4711, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1024, 1024 }, inotify.NOFILE, true, "", "prlimit --pid 4711 --nofile=65536:524288"},
		{"NOFILE, hard too", 812, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1000000, 1000000 }, inotify.NOFILE, true, "", "fs.nr_open is 1048576"},
		{"a gap below the limit", 4711, 0, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1030, 5 }, inotify.NOFILE, false, "", "the next would be RLIMIT_NOFILE"},
		{"the lowest is not known", 4711, 0, func(u *inotify.Usage, s *inotify.ProcessDetail) { s.FDs, s.LowestFD = 1024, -1 }, inotify.NOFILE, true, "", "EMFILE"},
		{"both: the account is asked first", 4711, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) {
			u.Accounts[0].Instances, s.FDs, s.LowestFD = 128, 1024, 1024
		}, inotify.Instances, true, "", ""},
		{"file-max", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Limits.OpenFiles = 100000 }, inotify.OpenFiles, true, "", "ENFILE (23)"},
		{"file-max at its floor", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Limits.OpenFiles = 100000 }, inotify.OpenFiles, true, "", "at its floor already"},
		{"file-max, but CAP_SYS_ADMIN", 4711, 0, func(u *inotify.Usage, s *inotify.ProcessDetail) { u.Limits.OpenFiles, s.SysAdmin = 100000, true }, inotify.Instances, false, "", ""},
		{"watches", 4711, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Watches = 8192 }, inotify.Watches, true, "", "reads like a full disk and is none"},
		{"errno 28, watches free", 4711, 28, func(*inotify.Usage, *inotify.ProcessDetail) {}, inotify.Watches, false, "", "see df and df -i"},
		{"errno 24 asks nothing else", 4711, 24, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Watches = 8192 }, inotify.Instances, false, "", "no limit behind errno 24 is reached now"},
		{"errno 23", 4711, 23, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 128 }, inotify.OpenFiles, false, "", "fs.file-max is nearest"},
		{"a limit of a user namespace", 900, 24, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[1].Instances = 5 }, inotify.Instances, true, "user.max_inotify_instances", "lowered inside user namespace 7"},
		{"the owner above", 900, 24, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 128 }, inotify.Instances, true, "", "uid 0, the owner of the user namespace, uses 128 of 128"},
		{"another user", 901, 0, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].Instances = 128 }, inotify.OpenFiles, false, "", "no limit is reached"},
		{"limit 0", 901, 24, func(u *inotify.Usage, _ *inotify.ProcessDetail) {
			u.Limits.Instances = 0
			u.Accounts[0].InstancesLimit = 0
		}, inotify.Instances, true, "", "uid 1000 uses 0 of 0"},
		{"a user without an account", 901, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) {
			u.InstancesQuality, s.FDsQuality = inotify.Estimate, inotify.Unknown
		}, inotify.Instances, false, "", "uid 1000 uses about 0 of 128"},
		{"unreadable processes", 901, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) {
			u.InstancesQuality, s.FDsQuality = inotify.Estimate, inotify.Unknown
			u.Walk.Unreadable = []procwalk.Unreadable{{Reason: "refused", Processes: 109}}
		}, inotify.Instances, false, "", "109 of the processes could not be read"},
		{"descriptors not counted", 901, 24, func(u *inotify.Usage, s *inotify.ProcessDetail) {
			s.FDs, s.LowestFD, s.FDsQuality = 0, -1, inotify.Unknown
			u.Limits.Instances = inotify.NoLimit
		}, "", false, "", "no limit of this process could be read"},
		{"nothing readable", 4711, 28, func(u *inotify.Usage, _ *inotify.ProcessDetail) { u.Accounts[0].WatchesQuality = inotify.Unknown }, "", false, "", "no limit of this process could be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := reportertest.Roomy()
			p, _ := u.Process(c.pid)
			s := inotify.ProcessDetail{Process: p, Above: above, LowestFD: p.FDs, FDsQuality: inotify.Exact}
			c.change(&u, &s)
			d := Why(s, c.errno, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
			if d.Limit != c.limit || d.Reached != c.reached {
				t.Errorf("limit %q, reached %v; want %q, %v", d.Limit, d.Reached, c.limit, c.reached)
			}
			if all := d.Summary + "\n" + strings.Join(d.Advice, "\n"); !strings.Contains(all, c.says) {
				t.Errorf("%q is not in\n%s", c.says, all)
			}
			if c.setting != "" && !strings.Contains(d.Summary, c.setting) {
				t.Errorf("%q is not in %q", c.setting, d.Summary)
			}
		})
	}
}

// Every account's holders are those that are charged to it, and no others.
func TestWhyHolders(t *testing.T) {
	u := reportertest.Roomy()
	p, _ := u.Process(4711)
	d := Why(inotify.ProcessDetail{Process: p, LowestFD: -1, Above: map[uint64][]inotify.Owner{7: {{UserNS: inotify.InitialUserNS}}}}, 24, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	var got []int
	for _, h := range d.Limits[0].TopConsumers {
		got = append(got, h.PID)
	}
	if !slices.Equal(got, []int{812, 900, 4711}) {
		t.Errorf("instances of uid 0 are held by %v, want 812, 900 of the namespace below, and 4711", got)
	}
}

// An account of which nothing could be read does not use 0 of its limit.
func TestWhyOfWhatCouldNotBeRead(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts, u.InstancesQuality, u.WatchesQuality = nil, inotify.Estimate, inotify.Estimate
	p, _ := u.Process(4711)
	p.Quality = inotify.Unknown
	d := Why(inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}, 0, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	for _, l := range d.Limits {
		if l.Owner != nil && l.Quality != inotify.Unknown {
			t.Errorf("%s: %d is called %s", l.Setting, l.Used, l.Quality)
		}
	}
}

// What the kernel counts is known, also of a process that cannot be read.
func TestWhyOfWhatOnlyTheKernelKnows(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts, u.InstancesQuality, u.WatchesQuality = nil, inotify.Exact, inotify.Exact
	p, _ := u.Process(4711)
	p.Quality = inotify.Unknown
	d := Why(inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}, 0, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	for _, l := range d.Limits {
		if l.Owner != nil && (l.Quality != inotify.Exact || l.Used != 0) {
			t.Errorf("%s: %d is called %s", l.Setting, l.Used, l.Quality)
		}
	}
}

// The kernel's own figure lacks nothing, whatever could not be read.
func TestWhyOfWhatTheKernelCounts(t *testing.T) {
	u := reportertest.Roomy()
	u.Walk.Unreadable = []procwalk.Unreadable{{Reason: "refused", Processes: 1}}
	p, _ := u.Process(4711)
	d := Why(inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}, 24, u, sysctl.PassResult{Rules: reportertest.Drifted}, nil)
	if !strings.HasSuffix(d.Summary, "uid 0 uses 60 of 128") {
		t.Errorf("%q, want no word about what is missing", d.Summary)
	}
}

// A limit that does not rise any further is at the ceiling: raising its floor helps nothing.
func TestWhyNamesTheCeiling(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts[0].Instances = 128
	p, _ := u.Process(4711)
	s := inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}
	for _, tt := range []struct {
		ceilings map[inotify.Resource]inotify.Limit
		says     string
	}{
		{map[inotify.Resource]inotify.Limit{inotify.Instances: 128}, "fs.inotify.max_user_instances is at the ceiling of 128, up to which nodetune raises it: see which processes hold it and why, or set a larger ceiling in the configuration (sysctl.rules and inotify.maxInstances)"},
		{map[inotify.Resource]inotify.Limit{inotify.Instances: 100}, "is at the ceiling of 100,"},
		{map[inotify.Resource]inotify.Limit{inotify.Instances: 8192}, "an agent (nodetune run) raises it with use, up to the ceiling of 8192"},
		{map[inotify.Resource]inotify.Limit{inotify.Watches: 1}, "fs.inotify.max_user_instances is at its floor already: see which"},
		{nil, "fs.inotify.max_user_instances is at its floor already: see which"},
	} {
		d := Why(s, 24, u, sysctl.PassResult{}, tt.ceilings)
		if all := strings.Join(d.Advice, "\n"); !strings.Contains(all, tt.says) {
			t.Errorf("%v: %q is not in\n%s", tt.ceilings, tt.says, all)
		}
	}
}
