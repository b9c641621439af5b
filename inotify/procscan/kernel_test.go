package procscan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// scanEnv makes the test binary print what one pass sees, with the privileges
// it was started with.
const scanEnv = "NODETUNE_TEST_SCAN"

func TestMain(m *testing.M) {
	if os.Getenv(scanEnv) != "" {
		if err := printUsage(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func printUsage() error {
	p := inotify.DefaultPolicy()
	p.ProbeUIDs = []uint32{70201}
	s, err := New("/proc", "/sys", p)
	if err != nil {
		return err
	}
	defer s.Close()
	u, err := s.Usage(context.Background())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(u)
}

// TestHeadroom: what the canary calls exact is what the kernel then grants, to
// the last one, with instances that no walk can see.
func TestHeadroom(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	const uid = 70200
	herd := inotifytest.New(t, 1)
	herd.Start(
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: uid, Instances: 100},
		inotifytest.Spec{Kind: inotifytest.Flight, Processes: 1, UID: uid, Instances: 10},
		inotifytest.Spec{Kind: inotifytest.Setuid, Processes: 1, UID: uid, Instances: 5, Other: 70299},
		inotifytest.Spec{Kind: inotifytest.UserNS, Processes: 1, UID: uid, Instances: 7, Other: 70298},
	)
	for used := 122; used < 128; used++ {
		_, u := scan(t, func(p *inotify.Policy) { p.ProbeUIDs = []uint32{uid} })
		a := account(u, uid)
		want := inotify.Headroom{Granted: 128 - used, Exact: true}
		if a.Headroom == nil || *a.Headroom != want || a.Instances != int64(used) || a.InstancesQuality != inotify.Exact {
			t.Fatalf("%d in use: got %+v, headroom %+v", used, a, a.Headroom)
		}
		herd.Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: uid, Instances: 1})
	}
	if h, err := Probe(uid, inotify.MaxProbe); err != nil || h != (inotify.Headroom{Exact: true}) {
		t.Errorf("at the limit: got %+v, %v", h, err)
	}
	if h, err := Probe(uid+1, inotify.MaxProbe); err != nil || h != (inotify.Headroom{Granted: inotify.MaxProbe}) {
		t.Errorf("of a user without instances: got %+v, %v", h, err)
	}
	if os.Geteuid() != 0 {
		t.Error("the canary has left its uid behind")
	}
}

// TestMissing: with each privilege taken away the output says what it does not
// know and why, and what it still calls exact or an upper bound is that.
func TestMissing(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	herd := inotifytest.New(t, 10)
	specs := []inotifytest.Spec{
		{Kind: inotifytest.Fork, Processes: 1, UID: 70201, Instances: 3, Watches: 4, Copies: 3},
		{Kind: inotifytest.Dup, Processes: 1, UID: 0, Instances: 2, Watches: 5, Copies: 2},
	}
	holders := herd.Start(specs...)
	full := herd.Start(inotifytest.Spec{Kind: inotifytest.FDs, Processes: 1, UID: 70202, Instances: 5000})[0][0]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	both, root, none := [2]bool{true, true}, [2]bool{false, true}, [2]bool{}
	for _, c := range []struct {
		name string
		run  []string
		why  string  // of a gap
		seen [2]bool // whether the holders are
	}{
		{"everything", nil, "received yet", both},
		{"no CAP_SYS_PTRACE", drop("sys_ptrace"), "CAP_SYS_PTRACE", none},
		{"no CAP_DAC_READ_SEARCH", drop("dac_read_search", "dac_override"), "CAP_DAC_READ_SEARCH", root},
		{"no CAP_SETUID", drop("setuid"), "CAP_SETUID", both},
		{"no CAP_SYS_RESOURCE", drop("sys_resource"), "received yet", both},
		{"no capability", []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}, "CAP_SYS_PTRACE", none},
		{"another user", []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"}, "CAP_DAC_READ_SEARCH", none},
		{"no hostPID, the node's /proc", []string{"unshare", "--pid", "--fork"}, "run with hostPID", both},
		{"no hostPID", []string{"unshare", "--pid", "--fork", "--mount-proc"}, "run with hostPID", none},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(self)
			if len(c.run) > 0 {
				cmd = exec.Command(c.run[0], append(c.run[1:], self)...)
			}
			cmd.Env = append(os.Environ(), scanEnv+"=1")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
			}
			var u inotify.Usage
			if err := json.Unmarshal(out, &u); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			listed := false
			for _, g := range u.Unknown {
				listed = listed || strings.Contains(g.Why, c.why)
				if g.What == "" || g.Why == "" {
					t.Errorf("an empty gap: %+v", g)
				}
			}
			if !listed {
				t.Errorf("%q is not listed: %+v", c.why, u.Unknown)
			}
			for i, s := range specs {
				for _, h := range holders[i] {
					p, listed := u.Process(h.PID)
					if listed != c.seen[i] {
						t.Errorf("%s: process %d listed: %v", s.Kind, h.PID, listed)
					}
					if !listed {
						continue
					}
					n, w := int64(s.Instances), int64(s.Instances*s.Watches)
					ok := map[inotify.Quality]bool{
						inotify.Exact:      p.Instances == n && (p.WatchesQuality != inotify.Exact || p.Watches == w),
						inotify.UpperBound: p.Instances >= n && p.Watches >= w,
						inotify.Estimate:   true,
					}[p.Quality]
					if !ok {
						t.Errorf("%s: process %d: got %d instances (%s) and %d watches (%s), want %d and %d", s.Kind, h.PID, p.Instances, p.Quality, p.Watches, p.WatchesQuality, n, w)
					}
				}
			}
			// How many descriptors a process has needs no capability.
			p, listed := u.Process(full.PID)
			if outside := strings.HasSuffix(c.name, "hostPID"); listed == outside {
				t.Errorf("the process with 5,000 descriptors is listed: %v", listed)
			}
			if listed && (p.FDs < 5000 || p.NOFILESoft < 5000 || p.Instances != 0 || p.UID != 70202) {
				t.Errorf("of 5,000 descriptors: got %+v", p)
			}
			if listed && c.seen[0] == (p.Quality == inotify.Unknown) {
				t.Errorf("it holds %d instances: %s", p.Instances, p.Quality)
			}
			if len(u.Walk.Unreadable) > 0 && u.InstancesQuality != inotify.Estimate {
				t.Errorf("%d instances are called %s, but processes could not be read", u.Instances, u.InstancesQuality)
			}
		})
	}
}

func drop(caps ...string) []string {
	return []string{"setpriv", "--bounding-set=-" + strings.Join(caps, ",-"), "--inh-caps=-all"}
}
