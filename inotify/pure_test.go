package inotify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

func usage(instances, watches int64) Usage {
	return Usage{
		Limits:   Limits{Instances: 128, Watches: 10_000, FileMax: 1000, OpenFiles: 10, MemoryBytes: 1 << 30},
		Accounts: []Account{{Owner: Owner{UID: 7}, Instances: instances, InstancesLimit: 128, Watches: watches, WatchesLimit: 10_000, InstancesQuality: Estimate, WatchesQuality: Estimate, TopPID: 42, TopWatchesPID: 42}},
		Processes: []Process{
			{PID: 42, Instances: instances, Watches: watches, FDs: 20, NOFILESoft: 1024},
		},
	}
}

func TestPressure(t *testing.T) {
	p := DefaultPolicy()
	for _, c := range []struct {
		name string
		u    Usage
		want []string
	}{
		{"none", usage(89, 6999), nil},
		{"near", usage(90, 0), []string{"inotify_instances 70%"}},
		{"pressure", usage(103, 0), []string{"inotify_instances 80% pressure"}},
		{"both, fullest first", usage(90, 9900), []string{"inotify_watches 99% pressure", "inotify_instances 70%"}},
		{"above a lowered limit", usage(256, 0), []string{"inotify_instances 200% pressure"}},
	} {
		var got []string
		for _, f := range Pressure(c.u, p) {
			s := string(f.Resource) + " " + jsonNumber(f.Percent) + "%"
			if f.Pressure {
				s += " pressure"
			}
			if f.Top == nil || f.Top.PID != 42 {
				t.Errorf("%s: top holder %+v", c.name, f.Top)
			}
			got = append(got, s)
		}
		if strings.Join(got, "; ") != strings.Join(c.want, "; ") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}

	u := usage(0, 0)
	u.Processes[0].FDs, u.Limits.OpenFiles = 1000, 900
	found := Pressure(u, p)
	if len(found) != 2 || found[0].Resource != NOFILE || found[1].Resource != OpenFiles || found[1].Top.PID != 42 {
		t.Errorf("descriptors: got %+v", found)
	}

	u = usage(0, 0)
	u.Accounts[0].Watches, u.Accounts[0].WatchesQuality = 9999, Unknown
	if found := Pressure(u, p); len(found) != 0 {
		t.Errorf("what is not known is pressure: %+v", found)
	}
	u = usage(1000, 0)
	u.Accounts[0].InstancesLimit = NoLimit
	if found := Pressure(u, p); len(found) != 0 {
		t.Errorf("use without a limit is pressure: %+v", found)
	}
}

func jsonNumber(f float64) string {
	b, _ := json.Marshal(int(f))
	return string(b)
}

func TestRaise(t *testing.T) {
	p := DefaultPolicy()
	leak := usage(5000, 0)
	leak.Limits.Instances = 5100
	leak.Accounts[0].InstancesLimit = 5100
	small := usage(0, 9000)
	small.Limits.MemoryBytes = 100 << 20 // a quarter of it is 11,635 watches
	// A limit above the ceiling is not lowered.
	high := usage(0, 9000)
	high.Limits.MemoryBytes = 10 << 20
	namespaced := usage(0, 0)
	namespaced.Accounts[0] = Account{Instances: 1000, InstancesLimit: NoLimit, WatchesLimit: NoLimit, InstancesQuality: Estimate, WatchesQuality: Estimate}
	soon := []Forecast{{Resource: Instances, Owner: &Owner{UID: 7}, In: 10 * time.Minute}}
	later := []Forecast{{Resource: Instances, Owner: &Owner{UID: 7}, In: 2 * time.Hour}}
	for _, c := range []struct {
		name      string
		u         Usage
		forecasts []Forecast
		key       string
		atLeast   int64
		heldBack  string
	}{
		{"low", usage(80, 100), nil, "", 0, ""},
		{"instances", usage(90, 100), nil, KeyInstances, 256, ""},
		{"more than one step", usage(300, 100), nil, KeyInstances, 512, ""},
		{"soon", usage(20, 0), soon, KeyInstances, 256, ""},
		{"not so soon", usage(20, 0), later, "", 0, ""},
		{"a leak", leak, nil, KeyInstances, 5100, "leak"},
		{"watches", usage(0, 7000), nil, KeyWatches, 20_000, ""},
		{"memory", small, nil, KeyWatches, 11_635, "memory"},
		{"above the ceiling", high, nil, KeyWatches, 10_000, "memory"},
		{"in a namespace with its own limit", namespaced, nil, "", 0, ""},
	} {
		got := Raise(c.u, c.forecasts, p)
		if c.key == "" {
			if len(got) != 0 {
				t.Errorf("%s: got %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Key != c.key || got[0].AtLeast != c.atLeast || !strings.Contains(got[0].HeldBack, c.heldBack) || (c.heldBack == "") != (got[0].HeldBack == "") || got[0].Reason == "" {
			t.Errorf("%s: got %+v, want %s at least %d", c.name, got, c.key, c.atLeast)
		}
	}
}

// TestRaiseProperties: a raise never lowers, and leaves less than RaisePercent
// in use unless it says why not.
func TestRaiseProperties(t *testing.T) {
	p := DefaultPolicy()
	for instances := int64(0); instances < 200_000; instances = instances*3/2 + 1 {
		for _, limit := range []Limit{0, 1, 128, 8192, 70_000, 1<<31 - 1} {
			u := usage(instances, 0)
			u.Limits.Instances, u.Accounts[0].InstancesLimit = limit, limit
			u.Processes[0].Instances = 1
			for _, f := range Raise(u, nil, p) {
				if f.AtLeast < int64(limit) {
					t.Errorf("%d of %d: lowered to %d", instances, limit, f.AtLeast)
				}
				if f.HeldBack == "" && Limit(f.AtLeast).Percent(instances) >= p.RaisePercent {
					t.Errorf("%d of %d: raised to %d, which is not enough", instances, limit, f.AtLeast)
				}
				if f.AtLeast > max(int64(limit), p.MaxInstances) {
					t.Errorf("%d of %d: raised to %d, above the ceiling", instances, limit, f.AtLeast)
				}
			}
		}
	}
}

func TestFloors(t *testing.T) {
	p := DefaultPolicy()
	got := Floors(usage(90, 7000), p)
	if len(got) != 2 || got[0].AtLeast != 129 || got[1].AtLeast != 10_000 {
		t.Errorf("got %+v, want 129 instances and 10000 watches", got)
	}
	if got := Floors(usage(0, 0), p); len(got) != 0 {
		t.Errorf("nothing in use: got %+v", got)
	}
	leak := usage(5000, 0)
	if got := Floors(leak, p); len(got) != 0 {
		t.Errorf("a leak sets a floor: %+v", got)
	}
}

// TestRaiseBesideLeak: an account that leaks gets nothing, and keeps nothing from
// the others.
func TestRaiseBesideLeak(t *testing.T) {
	p := DefaultPolicy()
	node := func(root, leaker int64) Usage {
		u := usage(root, 0)
		u.Limits.Instances, u.Accounts[0].InstancesLimit = 8192, 8192
		u.Accounts = append(u.Accounts, Account{Owner: Owner{UID: 1000}, Instances: leaker, InstancesLimit: 8192, WatchesLimit: u.Limits.Watches, TopPID: 77})
		u.Processes = append(u.Processes, Process{PID: 77, UID: 1000, Instances: leaker})
		u.Processes[0].Instances = 1
		return u
	}
	for _, c := range []struct {
		name         string
		root, leaker int64
		atLeast      int64 // 0: nothing is returned
		held         bool
	}{
		{"the leaker is fuller", 7000, 8192, 16384, false},
		{"root is fuller", 8000, 5000, 16384, false},
		{"only the leaker is near its limit", 100, 8192, 8192, true},
		{"both have enough", 100, 4200, 0, false},
		{"many small processes are no leak", 100, 4095, 0, false},
	} {
		got := Raise(node(c.root, c.leaker), nil, p)
		if c.atLeast == 0 {
			if len(got) != 0 {
				t.Errorf("%s: got %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].AtLeast != c.atLeast || (got[0].HeldBack != "") != c.held {
			t.Errorf("%s: got %+v, want at least %d", c.name, got, c.atLeast)
		}
	}
	// A process inside a user namespace is charged to its owner as well: the top
	// holder of the account is the leak, not its own uid.
	u := node(100, 8192)
	u.Processes[len(u.Processes)-1].UserNS, u.Processes[len(u.Processes)-1].UID = 4026532000, 0
	if got := Raise(u, nil, p); len(got) != 1 || got[0].HeldBack == "" {
		t.Errorf("leak inside a user namespace: got %+v", got)
	}
}

// TestUserNamespaceMovesNothing: a limit that a process has set for its own user
// namespace is listed, and is no pressure of the node.
func TestUserNamespaceMovesNothing(t *testing.T) {
	u := usage(0, 0)
	u.Accounts = []Account{{Owner: Owner{UserNS: 4026532000}, Level: 1, Instances: 1, InstancesLimit: 1, WatchesLimit: NoLimit, InstancesQuality: Exact, WatchesQuality: Exact}}
	p := DefaultPolicy()
	u.Findings = Pressure(u, p)
	if len(u.Findings) != 1 || u.Findings[0].Level != 1 || u.Findings[0].OfNode() || !u.Findings[0].Pressure {
		t.Fatalf("got %+v", u.Findings)
	}
	if u.Pressed() {
		t.Error("a user namespace puts the node under pressure")
	}
	u.Limits.Instances = 1 // the same figure as the namespace has
	if got := append(Raise(u, nil, p), Floors(u, p)...); len(got) != 0 {
		t.Errorf("a user namespace raises the node's limit: %+v", got)
	}
}

// TestHistoryIsBounded: the number of series does not follow what tenants do, and
// those that matter have one.
func TestHistoryIsBounded(t *testing.T) {
	var h History
	at := time.Unix(0, 0)
	for round := range 20 {
		var u Usage
		for i := range 4000 {
			u.Processes = append(u.Processes, Process{PID: round*4000 + i + 10, Start: uint64(round), Instances: 1, FDs: 4, NOFILESoft: 1024})
			u.Accounts = append(u.Accounts, Account{Owner: Owner{UserNS: uint64(round*4000 + i + 1)}, Level: 1, Instances: 5000})
		}
		u.Processes = append(u.Processes, Process{PID: 1, FDs: 900, NOFILESoft: 1024})
		u.Accounts = append(u.Accounts, Account{Owner: Owner{UID: 0}, Instances: 50})
		h.Add(at.Add(time.Duration(round)*15*time.Second), u, 15*time.Second)
		if len(h.accounts) > maxSeries || len(h.processes) > maxSeries {
			t.Fatalf("round %d: %d accounts and %d processes", round, len(h.accounts), len(h.processes))
		}
	}
	if h.accounts[Owner{}] == nil || h.processes[process{pid: 1}] == nil {
		t.Error("the account of root and the process near its limit have no series")
	}
}

func TestHistory(t *testing.T) {
	var h History
	start := time.Now()
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	if g := h.Account(Owner{UID: 7}); g != (Growth{}) {
		t.Errorf("growth of nothing: %+v", g)
	}
	// One instance a minute, with a burst in between that is over.
	for m := range 16 {
		n := int64(20 + m)
		if m == 7 {
			n += 80
		}
		h.Add(at(m), usage(n, 0), time.Minute)
		h.Add(at(m).Add(time.Second), usage(1, 0), time.Minute) // too soon to count
	}
	g := h.Account(Owner{UID: 7})
	if g.Instances < 59 || g.Instances > 61 || g.Over != 15*time.Minute {
		t.Errorf("growth: got %+v, want 60 instances per hour", g)
	}
	if g := h.Process(Process{PID: 42}); g.Instances < 59 || g.Instances > 61 {
		t.Errorf("growth of the process: %+v", g)
	}
	if g := h.Process(Process{PID: 42, Start: 1}); g != (Growth{}) {
		t.Errorf("another process with the same pid has grown: %+v", g)
	}
	u := usage(68, 0)
	got := h.Forecasts(u, 2*time.Hour)
	if len(got) != 1 || got[0].Resource != Instances || got[0].In < 58*time.Minute || got[0].In > 62*time.Minute {
		t.Errorf("forecast: got %+v, want the 60 that are left in an hour", got)
	}
	if got := h.Forecasts(u, 30*time.Minute); len(got) != 0 {
		t.Errorf("forecast within half an hour: %+v", got)
	}
	// What is gone is forgotten.
	h.Add(at(60), Usage{}, time.Minute)
	if len(h.accounts) != 0 || len(h.processes) != 0 {
		t.Errorf("remembers %d accounts and %d processes", len(h.accounts), len(h.processes))
	}
}

func TestLimitJSON(t *testing.T) {
	for l, want := range map[Limit]string{NoLimit: "null", 0: "0", 128: "128"} {
		b, err := json.Marshal(l)
		if err != nil || string(b) != want {
			t.Errorf("%d: got %s, %v", l, b, err)
		}
		var back Limit
		if err := json.Unmarshal(b, &back); err != nil || back != l {
			t.Errorf("%s: read back %d, %v", b, back, err)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultPolicy().Validate(); err != nil {
		t.Error(err)
	}
	p := DefaultPolicy()
	p.ClearPercent, p.Horizon, p.ProbeInstances, p.MaxInstances = 90, 0, 9, 1<<31
	var paths []string
	for _, e := range field.All(p.Validate()) {
		paths = append(paths, e.Path)
	}
	if got := strings.Join(paths, " "); got != "clearPercent maxInstances horizon canaryInstances" {
		t.Errorf("got %s", got)
	}
}
