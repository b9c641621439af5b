package top

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/sysctl"
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
	m := newModel(context.Background(), Sources{}, 2*time.Second)
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.Update(passed{usage: u, at: noon, took: 13 * time.Millisecond})
	return m
}

func press(m *model, keys ...string) tea.Cmd {
	var cmd tea.Cmd
	named := map[string]tea.Key{
		"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "backspace": {Code: tea.KeyBackspace},
		"down": {Code: tea.KeyDown}, "end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome}, "pgdown": {Code: tea.KeyPgDown},
		"tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "up": {Code: tea.KeyUp},
		"f1": {Code: tea.KeyF1}, "f3": {Code: tea.KeyF3}, "f4": {Code: tea.KeyF4}, "f5": {Code: tea.KeyF5}, "f6": {Code: tea.KeyF6}, "f10": {Code: tea.KeyF10},
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

// Each tab and page at three sizes: testdata has what is on the screen.
func TestScreens(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {40, 24}, {120, 40}} {
		for _, screen := range []struct{ name, keys string }{
			{"processes", ""}, {"accounts", "2"}, {"pods", "3 down"}, {"disks", "4"}, {"acts", "5"}, {"act", "5 down enter"}, {"help", "?"}, {"why", "down enter"}, {"filter", "/ f l u"}, {"sentence", ""},
		} {
			m := shown(t, full(), size[0], size[1])
			m.sources.Why = func(_ context.Context, pid int) (diagnosis.Diagnosis, error) { return diagnosisOf(pid), nil }
			m.sources.Disk = func(context.Context) (disk.Usage, error) { return disk.Usage{}, nil }
			m.sources.Acts = func(context.Context) ([]reporter.Act, error) { return done(), nil }
			m.disk, m.acts = disks(), acts{all: done(), read: true}
			if screen.name == "sentence" {
				m.sentence = sentence
				m.arrange()
			}
			if screen.keys != "" {
				if cmd := press(m, strings.Split(screen.keys, " ")...); cmd != nil {
					m.Update(cmd())
				}
			}
			var lines []string
			for _, line := range strings.Split(ansi.Strip(m.screen()), "\n") {
				lines = append(lines, strings.TrimRight(line, " ")+"\n")
			}
			if len(lines) != size[1] {
				t.Errorf("%s: %d lines, want %d", screen.name, len(lines), size[1])
			}
			goldentest.Compare(t, fmt.Sprintf("%s_%dx%d.txt", screen.name, size[0], size[1]), strings.Join(lines, ""))
		}
	}
}

var sentence = Sentence{
	Text:  "fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit cannot watch its files: EMFILE, fs.inotify.max_user_instances of uid 0 (8192 of 8192); inotify_init1 failed 14 times\x1b[2J",
	Cause: "webpack[7001] of ci/build-agent-77:runner holds 8060 of the inotify instances",
	Next:  "sudo nodetune why 7001",
	Heat:  100,
}

// The sentence takes room from the list, and from pages: rows, the cursor and the mouse go
// with it.
func TestSentenceTakesRoom(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {40, 24}, {80, 19}, {80, 24}, {120, 40}} {
		m := shown(t, many(5000), size[0], size[1])
		without := m.listRows()
		m.Update(passed{usage: m.usage, sentence: sentence, at: noon})
		if got, want := m.listRows(), max(1, without-len(m.sentenceLines())); got != want || len(m.sentenceLines()) > 5 {
			t.Errorf("%v: %d rows below %d lines, want %d", size, got, len(m.sentenceLines()), want)
		}
		for _, keys := range [][]string{nil, {"end"}, {"?"}, {"end"}, {"esc", "3", "end"}} {
			press(m, keys...)
			if lines := strings.Split(ansi.Strip(m.screen()), "\n"); len(lines) != size[1] || strings.Contains(strings.Join(lines, ""), "\x1b") {
				t.Errorf("%v %q: %d lines", size, keys, len(lines))
			}
		}
		if m.tab = processesTab; size[1] > 20 {
			press(m, "esc", "1", "home")
			m.Update(tea.MouseClickMsg{X: 3, Y: m.listTop() + 2, Button: tea.MouseLeft})
			if m.pos[m.tab].cursor != 2 || !strings.HasPrefix(strings.Split(ansi.Strip(m.screen()), "\n")[m.listTop()+2], ">") {
				t.Errorf("%v: the cursor is at %d:\n%s", size, m.pos[m.tab].cursor, ansi.Strip(m.screen()))
			}
		}
	}
}

func diagnosisOf(pid int) diagnosis.Diagnosis {
	u := full().Usage
	p, _ := u.Process(pid)
	return diagnosis.Why(inotify.ProcessDetail{Process: p, LowestFD: -1, FDsQuality: inotify.Exact}, 0, u, sysctl.PassResult{}, nil)
}

func done() []reporter.Act {
	return []reporter.Act{
		{At: noon.Add(-time.Minute), Kind: reporter.ActUndoDrift, On: "fs.inotify.max_user_watches", What: "fs.inotify.max_user_watches: 8192 → 524288", Why: "another program lowered it", Count: 12, First: noon.Add(-time.Hour)},
		{At: noon.Add(-48 * time.Hour), Kind: "rotate", On: "/var/log/\x1b[2Jpods/shop_cart-1/app/0.log", What: "rotated", Why: "no space left on device\n\u202egnp.exe", Failed: true, Count: 1},
	}
}

func disks() *disk.Usage {
	growth, left := 1048576.0, 5400.0
	return &disk.Usage{
		Filesystems: []filesystem.Filesystem{
			{Path: "/", Type: "ext4", State: filesystem.StateOK, SizeBytes: 100 << 30, AvailBytes: 8 << 30, Inodes: 1000, InodesFree: 900, GrowthBytesPerSecond: &growth, SecondsToFull: &left},
			{Path: "/var/\x1b[2Jlog", Type: "xfs", State: filesystem.StateOK, SizeBytes: 10 << 30, AvailBytes: 9 << 30},
		},
		Producers: []logs.Producer{{Bytes: 5 << 30, Files: 3}},
	}
}

// Whatever the size and however full the node, a screen is height lines of at
// most width columns without any control character.
func TestScreenFits(t *testing.T) {
	for _, n := range []int{0, 3, 5000} {
		u := many(n)
		for _, size := range [][2]int{{1, 1}, {20, 3}, {40, 24}, {80, 24}, {100, 30}, {250, 80}} {
			m := shown(t, u, size[0], size[1])
			for _, keys := range [][]string{nil, {"end"}, {"w", "r"}, {"?"}, {"end"}, {"u"}, {"2"}, {"end"}, {"3"}, {"end"}, {"4"}, {"enter"}, {"5"}, {"end", "enter"}, {"1", "enter"}, {"esc", "/", "z"}} {
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
		{"/ g / f l u e n t - b i t - x", []int{4711}},
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

func TestCursor(t *testing.T) {
	m := shown(t, many(5000), 80, 24)
	at := func(what string, cursor int) {
		t.Helper()
		p := m.pos[m.tab]
		if p.cursor != cursor || cursor < p.offset || cursor >= p.offset+m.listRows() {
			t.Errorf("%s: cursor %d, want %d, on a page of %d from %d", what, p.cursor, cursor, m.listRows(), p.offset)
		}
		if n := strings.Count(ansi.Strip(m.screen()), "\n>"); n != 1 {
			t.Errorf("%s: %d cursors on the screen", what, n)
		}
	}
	press(m, "down", "j", "k", "down")
	at("two down", 2)
	press(m, "end", "down")
	at("end", 4999)
	press(m, "up")
	at("one up from the end", 4998)
	press(m, "home", "pgdown")
	page := m.listRows()
	at("a page", page)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 12})
	at("a smaller window", page)
	press(m, "w")
	at("sorted again", 0)
	press(m, "end")
	m.Update(passed{usage: full(), at: noon}) // most processes are gone
	at("3 rows", 2)
	press(m, "tab", "end")
	at("accounts", 1)
	press(m, "shift+tab")
	at("processes again", 2)
}

// Help is longer than a small screen: it scrolls to its last line and back.
func TestHelpScrolls(t *testing.T) {
	m := shown(t, full(), 80, 24)
	press(m, "f1")
	if s := m.screen(); !strings.Contains(s, "Tab 1 2 3 4") || strings.Contains(s, "names it.") {
		t.Errorf("help begins with\n%s", s)
	}
	press(m, "end")
	if s := m.screen(); !strings.Contains(s, "names it.") {
		t.Errorf("help ends with\n%s", s)
	}
	press(m, "home")
	if s := m.screen(); !strings.Contains(s, "Tab 1 2 3 4") {
		t.Errorf("help after Home\n%s", s)
	}
	if press(m, "esc"); m.covered() {
		t.Error("Esc does not close help")
	}
}

// The tab of acts shows what an agent answers, and why where none does.
func TestActs(t *testing.T) {
	many := slices.Repeat(done(), 1000)
	for _, tt := range []struct {
		name string
		all  []reporter.Act
		err  error
		want string
		rows int
	}{
		{"acts", done(), nil, "8192 → 524288, 12 times: another program lowered it", 2},
		{"none", nil, nil, "nothing since it started", 1},
		{"no agent", nil, errors.New("no agent answers at http://127.0.0.1:9409: \x1b[2Jrefused"), "no agent answers", 1},
		{"an endless answer", many, nil, "8192 → 524288", maxActs},
	} {
		m := shown(t, full(), 80, 24)
		m.sources.Acts = func(context.Context) ([]reporter.Act, error) { return tt.all, tt.err }
		m.sources.Usage = func(context.Context) (inotify.Usage, error) { return full().Usage, nil }
		cmd := press(m, "5")
		if screen := m.screen(); !strings.Contains(screen, "reading …") || cmd == nil {
			t.Fatalf("%s: before the answer:\n%s", tt.name, screen)
		}
		m.Update(cmd())
		press(m, "enter")
		lines := strings.Join(strings.Fields(m.screen()), " ")
		press(m, "esc")
		if all := lines + m.list[0].line; !strings.Contains(all, tt.want) || m.count() != tt.rows || strings.Contains(all, "\x1b[2J") {
			t.Errorf("%s: %d rows, no %q in\n%s", tt.name, m.count(), tt.want, all)
		}
	}
}

// What users of htop, btop and k9s press.
func TestFamiliarKeys(t *testing.T) {
	for _, tt := range []struct {
		keys string
		is   func(*model) bool
	}{
		{"f1", func(m *model) bool { return m.open == helpPage }},
		{"h f1 ?", func(m *model) bool { return m.open == helpPage }},
		{"f3", func(m *model) bool { return m.typing }},
		{"f4", func(m *model) bool { return m.typing }},
		{"? /", func(m *model) bool { return m.typing && !m.covered() }},
		{"f6", func(m *model) bool { return m.by == byWatches }},
		{"s s", func(m *model) bool { return m.by == byFDs }},
		{"s s s s s s", func(m *model) bool { return m.by == byInstances }},
		{"tab", func(m *model) bool { return m.tab == accountsTab }},
		{"right right", func(m *model) bool { return m.tab == podsTab }},
		{"left", func(m *model) bool { return m.tab == actsTab }},
		{"tab tab tab tab tab", func(m *model) bool { return m.tab == processesTab }},
		{"4", func(m *model) bool { return m.tab == disksTab }},
		{"5", func(m *model) bool { return m.tab == actsTab && m.list[0].line == "not read here" }},
		{"/ f l u enter esc", func(m *model) bool { return m.filter == "" }},
		{"enter", func(m *model) bool { return m.open == whyPage }},
		{"enter esc", func(m *model) bool { return !m.covered() }},
		{"2 enter", func(m *model) bool { return m.open == whyPage && strings.Contains(m.why, "not known") }},
		{"3 down enter", func(m *model) bool { return m.tab == processesTab && len(m.rows) == 1 }},
		{"/ q q enter 3 enter", func(m *model) bool { return m.tab == podsTab && m.count() == 0 }},
		{"f5", func(m *model) bool { return m.reading }},
	} {
		m := shown(t, full(), 80, 24)
		press(m, strings.Split(tt.keys, " ")...)
		if !tt.is(m) {
			t.Errorf("%q leads to\n%s", tt.keys, m.screen())
		}
	}
}

// A diagnosis that ends after a later one is not shown, one that fails is.
func TestDiagnosis(t *testing.T) {
	m := shown(t, full(), 80, 24)
	fail := errors.New("open /proc/4711: gone\x1b[2J")
	m.sources.Why = func(_ context.Context, pid int) (diagnosis.Diagnosis, error) {
		if pid == 4711 {
			return diagnosis.Diagnosis{}, fail
		}
		return diagnosisOf(pid), nil
	}
	first := press(m, "enter")
	second := press(m, "esc", "down", "enter")
	m.Update(second())
	m.Update(first())
	if s := m.screen(); !strings.Contains(s, "why 4711 failed: open /proc/4711: gone") || strings.Contains(ansi.Strip(s), "\x1b") {
		t.Errorf("the later diagnosis failed:\n%q", s)
	}
}

func TestMouse(t *testing.T) {
	m := shown(t, full(), 80, 24)
	click := func(x, y int) { m.Update(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft}) }
	click(0, m.listTop()+1)
	if m.pos[m.tab].cursor != 1 || m.covered() {
		t.Errorf("a click on the second row: cursor %d", m.pos[m.tab].cursor)
	}
	click(0, m.listTop()+20)
	click(0, m.height-1)
	click(0, 0)
	if m.pos[m.tab].cursor != 1 || m.covered() {
		t.Errorf("clicks beside the rows: cursor %d", m.pos[m.tab].cursor)
	}
	m.Update(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if m.pos[m.tab].cursor != 0 {
		t.Errorf("the wheel: cursor %d", m.pos[m.tab].cursor)
	}
	if click(0, m.listTop()); m.open != whyPage {
		t.Error("a click on the row of the cursor opens nothing")
	}
	if click(strings.Index(ansi.Strip(m.tabLine()), "pods"), m.tabRow()); m.tab != podsTab || m.covered() {
		t.Errorf("a click on pods shows tab %d", m.tab)
	}
	click(79, m.tabRow())
	if m.tab != podsTab {
		t.Error("a click beside the tabs changes the tab")
	}
}

// The disks are read while their tab is shown, and at no other time. An error
// leaves the accounts on the screen.
func TestDisksAreReadWhileShown(t *testing.T) {
	reads := 0
	m := newModel(context.Background(), Sources{
		Usage: func(context.Context) (inotify.Usage, error) { return full().Usage, nil },
		Disk: func(context.Context) (disk.Usage, error) {
			if reads++; reads == 2 {
				return disk.Usage{}, errors.New("statfs: stale")
			}
			return *disks(), nil
		},
	}, time.Second)
	m.Update(m.pass()())
	if reads != 0 {
		t.Fatal("read before the tab was shown")
	}
	cmd := press(m, "4")
	if cmd == nil {
		t.Fatal("the tab of disks starts no pass")
	}
	m.Update(cmd())
	if s := m.screen(); reads != 1 || !strings.Contains(s, "ext4") {
		t.Errorf("%d reads:\n%s", reads, s)
	}
	m.Update(m.pass()())
	if s := m.screen(); !strings.Contains(s, "the last pass failed: statfs: stale") {
		t.Errorf("after a failure:\n%s", s)
	}
	press(m, "1")
	m.Update(m.pass()())
	if reads != 2 {
		t.Errorf("%d reads, want none for processes", reads)
	}
}

// The totals of a pod are those of its processes; what they may share makes them
// an upper bound.
func TestPodTotals(t *testing.T) {
	got := podTotals([]inotify.Process{
		{Namespace: "a", Pod: "p", Container: "x", NOFILESoft: inotify.NoLimit, Instances: 1, Watches: 10, FDs: 5, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
		{Unit: "u.service", Instances: 9, Quality: inotify.Estimate, WatchesQuality: inotify.Unknown},
		{Namespace: "a", Pod: "p", Container: "y", NOFILESoft: 14, Instances: 2, Watches: 30, FDs: 7, Quality: inotify.Exact, WatchesQuality: inotify.Estimate},
		{Namespace: "b", Pod: "p", Instances: 1, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
		{Comm: "lonely", Instances: 1, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
	})
	want := []total{
		{name: "u.service", processes: 1, instances: 9, quality: inotify.Estimate, watchesQuality: inotify.Unknown},
		{name: "a/p", processes: 2, instances: 3, watches: 40, fds: 12, heat: 50, quality: inotify.UpperBound, watchesQuality: inotify.Estimate},
		{name: "", processes: 1, instances: 1, quality: inotify.Exact, watchesQuality: inotify.Exact},
		{name: "b/p", processes: 1, instances: 1, quality: inotify.Exact, watchesQuality: inotify.Exact},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestBar(t *testing.T) {
	for percent, want := range map[float64]string{0: "[          ]", 4: "[          ]", 5: "[|         ]", 50: "[|||||     ]", 100: "[||||||||||]", 900: "[||||||||||]"} {
		if got := bar(percent, 10); got != want {
			t.Errorf("%v %%: %s, want %s", percent, got, want)
		}
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
	for _, key := range []string{"q", "f10", "ctrl+c"} {
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
	m := newModel(context.Background(), Sources{Usage: func(context.Context) (inotify.Usage, error) {
		n++
		if n == 2 {
			return inotify.Usage{}, errors.New("open /proc: too many open files")
		}
		return full().Usage, nil
	}}, 2*time.Second)
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
