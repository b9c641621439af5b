package top

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)

// reading is a node at its limit.
func full() *reading {
	return &reading{
		Usage: inotify.Usage{
			Source: "procfs",
			Limits: inotify.Limits{OpenFiles: 71203, FileMax: 9223372036854775807},
			Accounts: []inotify.Account{
				{Owner: inotify.Owner{UserNS: 4026531837}, Instances: 126, InstancesLimit: 128, Watches: 9000, WatchesLimit: 192536, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact},
				{Owner: inotify.Owner{UserNS: 4026532900, UID: 100000}, Instances: 3, InstancesLimit: 2147483647, Watches: 40, WatchesLimit: inotify.NoLimit, InstancesQuality: inotify.UpperBound, WatchesQuality: inotify.Unknown},
			},
			Processes: []inotify.Process{
				{PID: 812, Start: 7, Comm: "kubelet", Instances: 50, Watches: 4800, Quality: inotify.Exact, WatchesQuality: inotify.Exact, FDs: 310, NOFILESoft: 1000000, Unit: "kubelet.service"},
				{PID: 4711, Start: 8, UID: 1000, Comm: "fluent-bit", Instances: 2, Watches: 900, Quality: inotify.Exact, WatchesQuality: inotify.Estimate, FDs: 1000, NOFILESoft: 1024, Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"},
				{PID: 4712, Start: 9, UID: 100000, Comm: "evil\x1b[2J\nx", Instances: 1, Watches: 190000, WatchesAgeSeconds: 300, Quality: inotify.UpperBound, WatchesQuality: inotify.UpperBound, FDs: 10, NOFILESoft: inotify.NoLimit},
			},
			Walk:    procwalk.Stats{Processes: 2104},
			Unknown: []inotify.Gap{{What: "descriptors", Why: "permission denied", Processes: 12}},
		},
		owners:  map[inotify.Owner]growth{{UserNS: 4026531837}: {instances: 1.5, full: 80 * time.Second}},
		holders: map[int]growth{4711: {fds: 12}},
	}
}

func shown(t testing.TB, u *reading, width, height int) *model {
	t.Helper()
	m := newModel(context.Background(), nil, 2*time.Second)
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.Update(passed{usage: u, at: noon, took: 13 * time.Millisecond})
	return m
}

func press(m *model, keys ...string) tea.Cmd {
	var cmd tea.Cmd
	named := map[string]tea.Key{
		"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "backspace": {Code: tea.KeyBackspace},
		"down": {Code: tea.KeyDown}, "end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome}, "pgdown": {Code: tea.KeyPgDown},
		"space": {Code: ' ', Text: " "}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
	}
	for _, k := range keys {
		key, ok := named[k]
		if !ok {
			r := []rune(k)
			key = tea.Key{Code: r[0], Text: k}
		}
		_, cmd = m.Update(tea.KeyPressMsg(key))
	}
	return cmd
}

func TestScreen(t *testing.T) {
	got := ansi.Strip(shown(t, full(), 80, 14).screen())
	want := `nodetune top 12:00:00  2104 processes  71203/9e+18 open files  procfs 13ms
not known: 1 (u lists them)
       UID USERNS         INSTANCES     %         WATCHES     %  +/MIN FULL IN
         0 initial          126/128   98%     9000/192536    4%    1.5     80s
    100000 4026532900      ≤3/2e+09    0%             ?/?
    PID COMM          INST    WATCHES    FDS/NOFILE  +/MIN POD OR UNIT
    812 kubelet         50       4800   310/1000000        kubelet.service
   4711 fluent-bit       2       ~900     1000/1024     12 logging/fluent-bit-x…
   4712 evil\x1b[2J…    ≤1 ≤190000@5m          10/?

by instances  3 rows  every 2s  ? help  q quit  i w f g p o r / space + -`
	trim := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	if i := strings.LastIndex(got, "\n\n"); i < 0 {
		t.Errorf("the screen is not filled:\n%s", got)
	}
	for strings.Contains(got, "\n\n\n") {
		got = strings.ReplaceAll(got, "\n\n\n", "\n\n")
	}
	if trim(got) != trim(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever the size and however full the node, a screen is height lines of at
// most width columns without any control character.
func TestScreenFits(t *testing.T) {
	for _, n := range []int{0, 3, 5000} {
		u := many(n)
		for _, size := range [][2]int{{1, 1}, {20, 3}, {80, 24}, {100, 30}, {250, 80}} {
			m := shown(t, u, size[0], size[1])
			for _, keys := range [][]string{nil, {"end"}, {"w", "r"}, {"?"}, {"u"}, {"esc", "/", "z"}} {
				press(m, keys...)
				lines := strings.Split(m.screen(), "\n")
				if len(lines) != size[1] {
					t.Errorf("%d processes, %v, %q: %d lines", n, size, keys, len(lines))
				}
				for _, line := range lines {
					if w := ansi.StringWidth(line); w > size[0] {
						t.Errorf("%d processes, %v, %q: %d columns: %q", n, size, keys, w, line)
					}
					if strings.ContainsFunc(ansi.Strip(line), func(r rune) bool { return r < ' ' || r == 0x7f }) {
						t.Errorf("%d processes, %v, %q: control characters: %q", n, size, keys, line)
					}
				}
			}
		}
	}
}

func many(n int) *reading {
	u := full()
	u.Processes = nil
	for i := range n {
		u.Processes = append(u.Processes, inotify.Process{
			PID: 1000 + i, Comm: "worker\x1b]0;" + strconv.Itoa(i%7) + "\a日本", Instances: int64(i % 13), Watches: int64(i * 7 % 9000),
			Quality: inotify.Exact, WatchesQuality: inotify.Exact, FDs: int64(i % 1024), NOFILESoft: 1024, Namespace: "default", Pod: fmt.Sprintf("web-%d", i), Container: "web",
		})
	}
	for i := range n / 100 {
		u.Accounts = append(u.Accounts, inotify.Account{Owner: inotify.Owner{UserNS: 1, UID: uint32(i)}, Instances: int64(i), InstancesLimit: 128, InstancesQuality: inotify.Estimate})
	}
	return u
}

func pids(m *model) (pids []int) {
	for _, p := range m.rows {
		pids = append(pids, p.PID)
	}
	return pids
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		keys string
		want []int
	}{
		{"", []int{812, 4711, 4712}},
		{"i", []int{812, 4711, 4712}},
		{"i r", []int{4712, 4711, 812}},
		{"w", []int{4712, 812, 4711}},
		{"f", []int{4711, 812, 4712}},
		{"g", []int{4711, 812, 4712}},
		{"p", []int{812, 4711, 4712}},
		{"p r", []int{4712, 4711, 812}},
		{"o", []int{4712, 812, 4711}},
		{"/ F L U", []int{4711}},
		{"/ f l u enter w", []int{4711}},
		{"/ f l u esc", []int{812, 4711, 4712}},
		{"/ 4 7 1 2 backspace", []int{4711, 4712}},
		{"/ k u b e l e t . s", []int{812}},
		{"/ \x1b [ 2 J", []int{4712}},
		{"/ q", nil},
		{"/ n o space n e", nil},
	} {
		m := shown(t, full(), 80, 24)
		if c.keys != "" {
			press(m, strings.Split(c.keys, " ")...)
		}
		if got := pids(m); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: rows %v, want %v", c.keys, got, c.want)
		}
	}
}

func TestScroll(t *testing.T) {
	m := shown(t, many(5000), 80, 24)
	press(m, "down", "down")
	if m.offset != 2 {
		t.Errorf("two down: offset %d", m.offset)
	}
	press(m, "end", "down")
	if m.offset+m.page() != 5000 {
		t.Errorf("end: rows %d to %d of 5000", m.offset, m.offset+m.page())
	}
	press(m, "w")
	if m.offset != 0 {
		t.Errorf("sorted again: offset %d", m.offset)
	}
	press(m, "end")
	m.Update(passed{usage: full(), at: noon}) // most processes are gone
	if m.offset != 0 {
		t.Errorf("3 rows: offset %d", m.offset)
	}
}

// Without a holder the screen does not blame the filter.
func TestNoHolder(t *testing.T) {
	m := shown(t, &reading{}, 80, 24)
	if s := ansi.Strip(m.screen()); !strings.Contains(s, "no process that could be read holds") || strings.Contains(s, "Esc") {
		t.Error(s)
	}
	press(m, "/", "q", "enter")
	if s := ansi.Strip(m.screen()); !strings.Contains(s, `no process has "q": Esc shows all`) {
		t.Error(s)
	}
}

func TestQuit(t *testing.T) {
	for _, key := range []string{"q", "ctrl+c"} {
		cmd := press(shown(t, full(), 80, 24), key)
		if cmd == nil {
			t.Fatalf("%s does nothing", key)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s does not quit", key)
		}
	}
	m := shown(t, full(), 80, 24)
	if press(m, "/", "q"); m.filter != "q" {
		t.Errorf("q in the filter: %q", m.filter)
	}
	if cmd := press(m, "ctrl+c"); cmd == nil {
		t.Error("ctrl+c in the filter does nothing")
	}
}

func TestUnknown(t *testing.T) {
	m := shown(t, full(), 60, 24)
	press(m, "u")
	if s := m.screen(); !strings.Contains(s, "descriptors: permission denied (12 processes)") || strings.Contains(s, "kubelet") {
		t.Errorf("u shows\n%s", s)
	}
	press(m, "u")
	if s := m.screen(); !strings.Contains(s, "kubelet") {
		t.Errorf("u again shows\n%s", s)
	}
}

// What grows from pass to pass is shown per minute, with the time to the limit;
// a process that took over a pid has a growth of its own.
func TestGrowth(t *testing.T) {
	var h inotify.History
	u := full().Usage
	var r *reading
	for i := range 8 {
		u.Accounts[0].Instances = 64 + int64(i) // 30 a minute
		u.Processes[1].FDs = int64(i * 4)
		u.Processes[2].Start = uint64(i)
		u.Processes[2].FDs = int64(i * 100)
		r = newReading(u, &h, noon.Add(time.Duration(i)*2*time.Second), 2*time.Second)
	}
	owner := r.owners[inotify.Owner{UserNS: 4026531837}]
	if math.Round(owner.instances) != 30 || owner.full.Round(time.Second) != 114*time.Second {
		t.Errorf("uid 0 grows by %v a minute and is full in %v, want 30 and 1m54s", owner.instances, owner.full)
	}
	if g := r.holders[4711]; math.Round(g.fds) != 120 {
		t.Errorf("4711 grows by %v descriptors a minute, want 120", g.fds)
	}
	if g := r.holders[4712]; g.most() != 0 {
		t.Errorf("4712, another process each time, grows by %v", g.most())
	}
}

// A pass that fails leaves what was seen on the screen with the reason; one that
// hangs shows its age. There is one pass at a time, and none while paused.
func TestPasses(t *testing.T) {
	n := 0
	m := newModel(context.Background(), func(context.Context) (inotify.Usage, error) {
		n++
		if n == 2 {
			return inotify.Usage{}, errors.New("open /proc: too many open files")
		}
		return full().Usage, nil
	}, 2*time.Second)
	cmd := m.pass()
	if m.pass() != nil {
		t.Fatal("a second pass beside the first")
	}
	m.Update(cmd())
	old := due(m.passes)
	_, cmd = m.Update(old)
	if cmd == nil {
		t.Fatal("no pass when it is due")
	}
	m.Update(cmd())
	if s := m.screen(); !strings.Contains(s, "too many open files") || !strings.Contains(s, "fluent-bit") {
		t.Errorf("after a failure:\n%s", s)
	}
	if _, cmd := m.Update(old); cmd != nil {
		t.Error("an old timer starts a pass")
	}
	press(m, "space")
	if _, cmd := m.Update(due(m.passes)); cmd != nil {
		t.Error("a pass while paused")
	}
	if s := m.screen(); !strings.Contains(s, "paused") {
		t.Errorf("not shown as paused:\n%s", s)
	}
	if cmd := press(m, "space"); cmd == nil {
		t.Error("no pass after the pause")
	}
	m.Update(clock(m.at.Add(17 * time.Minute)))
	if s := m.screen(); !strings.Contains(s, "as of 17m ago") {
		t.Errorf("no age:\n%s", s)
	}
}

// One refresh of a node with 5,000 processes, all the way to the screen.
func BenchmarkRefresh(b *testing.B) {
	u := many(5000)
	m := shown(b, u, 80, 24)
	at := noon
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(m.every)
		m.Update(passed{usage: newReading(u.Usage, &m.history, at, m.every), at: at})
		if len(m.screen()) == 0 {
			b.Fatal("nothing on the screen")
		}
	}
}

// The last one whom a limit refused is on the screen.
func TestRefused(t *testing.T) {
	u := full()
	u.Refusals = []inotify.SyscallFailure{
		{Call: inotify.CallAddWatch, Errno: 2, Limit: inotify.NoLimit, Comm: "tail", PID: 8},
		{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Used: 40, Limit: 40, Comm: "fluent-bit", PID: 7, Count: 3},
	}
	const want = "refused: fluent-bit[7] 3 times inotify_init1: EMFILE, its own RLIMIT_NOFILE"
	if screen := shown(t, u, 120, 24).screen(); !strings.Contains(screen, want) || strings.Contains(screen, "ENOENT") {
		t.Errorf("no %q in\n%s", want, screen)
	}
}
