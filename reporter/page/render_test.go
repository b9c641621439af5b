package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

func render(t testing.TB, s Status, refresh int) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, s, Options{Refresh: refresh}); err != nil {
		t.Fatal(err)
	}
	if b.Len() > MaxBytes {
		t.Errorf("the page has %d bytes, want %d at most", b.Len(), MaxBytes)
	}
	return b.String()
}

// hostileNames are what a pod, a container, a file or a program may be called.
var hostileNames = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'onmouseover='alert(1)`, `</style><script>alert(1)</script>`, `</title><svg onload=alert(1)>`,
	`javascript:alert(1)`, `{{.}}`, "a\u202egnp.exe", "\u2066\u2067x\u2069", "שלום עולם", "مرحبا", "\x1b[2J\x1b]0;x\x07", "a\nb\tc\r\n", "\x00", "\xff\xfe\xc3", "e\u0301\u0323",
	strings.Repeat("x", 4096), strings.Repeat("<", 4096), strings.Repeat("\xff", 4096), strings.Repeat("\u202e", 1366), strings.Repeat("\"&", 2048), strings.Repeat("漢", 1365), "\u2028\u2029", "&lt;b&gt;", "-->", "<!--", "]]>",
}

// monstrous is a node where everything is as large as a pass may be, and has such
// names.
func monstrous(rows int, name func(i int) string) Input {
	in := exhausted()
	in.Node, in.Version = name(0), name(1)
	s := &in.Snapshot
	u, d, r := &s.Inotify.Value, &s.Disk.Value, &s.Sysctl.Value
	for i := range rows {
		n := name(i)
		w := workload.Workload{Namespace: n, Pod: n, Container: n, Unit: n, PodUID: fmt.Sprint(i)}
		u.Accounts = append(u.Accounts, inotify.Account{Owner: inotify.Owner{UserNS: math.MaxUint64, UID: uint32(i)}, Level: i % 2, Instances: math.MaxInt64 - 1, InstancesLimit: math.MaxInt64, Watches: 99, WatchesLimit: 100, InstancesQuality: inotify.Exact, WatchesQuality: inotify.UpperBound, TopPID: i + 1})
		u.Processes = append(u.Processes, inotify.Process{PID: i + 1, Comm: n, Namespace: n, Pod: n + fmt.Sprint(i), Container: n, Unit: n, Instances: math.MaxInt32, Watches: math.MaxInt32, FDs: 1023, NOFILESoft: 1024, Growth: &inotify.Growth{FDs: 1e300}})
		u.Refusals = append(u.Refusals, inotify.SyscallFailure{Call: n, Errno: i, Resource: inotify.Instances, PID: i, Comm: n, Namespace: n, Pod: n, Container: n, Count: math.MaxInt64, At: noon})
		u.Unknown = append(u.Unknown, inotify.Gap{What: n, Why: n, Processes: i + 1})
		d.Filesystems = append(d.Filesystems, filesystem.Filesystem{Path: "/" + n, Type: n, Source: n, Error: n, State: filesystem.StateHung, Roles: []filesystem.Role{filesystem.RoleLogs}})
		d.Filesystems = append(d.Filesystems, filesystem.Filesystem{Path: "/x" + n, Type: n, State: filesystem.StateOK, SizeBytes: math.MaxUint64, AvailBytes: 1, Roles: []filesystem.Role{filesystem.RoleLogs}, GrowthBytesPerSecond: ptr(math.MaxFloat64), SecondsToFull: ptr(math.MaxFloat64), SecondsToEviction: ptr(-5.0)})
		d.Producers = append(d.Producers, logs.Producer{Kind: logs.KindContainer, Workload: w, Path: n, Bytes: math.MaxUint64, BytesPerSecond: ptr(-math.MaxFloat64)})
		d.Readers = append(d.Readers, logs.Reader{PID: i, Comm: n, Who: w, Log: w, Path: n, OffsetBytes: ptr(uint64(0)), LagBytes: math.MaxInt64, StalledSince: &noon, PredictedLossBytes: math.MaxUint64})
		d.Unfollowed = append(d.Unfollowed, logs.Unfollowed{Workload: w, Path: n, SizeBytes: math.MaxUint64, Since: &noon})
		d.Corrupt = append(d.Corrupt, logs.Corrupt{Path: n, Error: n})
		d.Orphans = append(d.Orphans, reclaim.Orphan{Path: n, Bytes: 1})
		d.Findings = append(d.Findings, disk.Finding{Severity: disk.SeverityWarning, Message: n, Do: n})
		r.Rules = append(r.Rules, sysctl.Status{Rule: sysctl.Rule{Key: sysctl.Key(n), Op: sysctl.AtLeast, Want: math.MaxInt64, Ceiling: math.MaxInt64}, Value: 0, Outcome: sysctl.Refused, Reason: n})
		r.Warnings = append(r.Warnings, n)
		r.ObservedWrites = append(r.ObservedWrites, sysctl.ObservedWrite{Key: sysctl.Key(n), Process: n, Namespace: n, Pod: n, Container: n, Count: math.MaxUint64, Last: noon})
		in.Acts = append(in.Acts, reporter.Act{Kind: reporter.ActKind(n), On: n, What: n, Why: n, Count: math.MaxInt, At: noon})
	}
	d.Pressure = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonSpaceLow, Message: "/x" + name(0) + " has 1%"}
	d.Reading = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonStalled, Message: name(0)}
	d.Scan.Omitted = map[string]int{name(0): 5}
	u.Findings = inotify.Pressure(*u, in.Policy)
	r.Paused, r.GuardReason, r.Guard = name(0), name(0), name(0)
	return in
}

// Whatever a node holds, the page is small, and its data as well.
func TestPageIsBounded(t *testing.T) {
	for _, name := range hostileNames {
		s := NewStatus(monstrous(60, func(int) string { return name }))
		b := render(t, s, 30)
		inert(t, b)
		if !strings.Contains(b, "… and ") {
			t.Errorf("%.20q: the page does not say that rows were left out", name)
		}
		j, err := json.Marshal(s)
		if err != nil || len(j) > 1_000_000 {
			t.Errorf("%.20q: status.json has %d bytes: %v", name, len(j), err)
		}
	}
}

// The usual size, with all acts: few kB are spent.
func TestAllActsFit(t *testing.T) {
	in := exhausted()
	for i := range 250 {
		in.Acts = append(in.Acts, reporter.Act{At: noon, Count: 1, Kind: reporter.ActRaise, What: fmt.Sprintf("fs.inotify.max_user_instances: %d → 8192", i), Why: "another program had lowered it from 8192"})
	}
	b := render(t, NewStatus(in), 30)
	if n := strings.Count(b, "another program had lowered it"); n != 198 {
		t.Errorf("%d acts of 200 are shown beside two others", n)
	}
	if !strings.Contains(b, "… and 52 more") {
		t.Error("the page does not say how many acts were left out")
	}
}

// inert fails where a page has an element or an attribute that the template does
// not have, or a character that turns text around.
func inert(t testing.TB, b string) {
	t.Helper()
	if !utf8.ValidString(b) {
		t.Error("the page is not UTF-8")
	}
	for _, r := range b {
		if unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) && r != '\n' || r == '\u2028' || r == '\u2029' {
			t.Fatalf("the page has %U", r)
		}
	}
	_, b, _ = strings.Cut(b, "<!DOCTYPE html>\n")
	for _, rest := range strings.Split(b, "<")[1:] {
		tag := openTag.FindStringSubmatch(rest)
		if tag == nil {
			t.Fatalf("this is no tag of the template: <%.100s", rest)
		}
		if !strings.Contains(" html head meta title style body header b span main section h1 h2 h3 dl dt dd pre code small div table thead tr th tbody td br svg rect p ul li footer a ", " "+tag[1]+" ") {
			t.Fatalf("the page has an element %q", tag[1])
		}
		for _, a := range attribute.FindAllStringSubmatch(tag[2], -1) {
			if !strings.Contains(" lang charset name content http-equiv class tabindex role aria-label aria-hidden scope colspan viewBox preserveAspectRatio width height href ", " "+a[1]+" ") {
				t.Fatalf("%s has an attribute %s=%q", tag[1], a[1], a[2])
			}
			if a[1] == "href" && !strings.Contains(" status.json report metrics readyz livez ", " "+a[2]+" ") {
				t.Fatalf("a link to %q", a[2])
			}
		}
	}
}

// Each attribute has its value in double quotes.
var (
	openTag   = regexp.MustCompile(`^/?([a-z0-9]+)((?: [a-zA-Z-]+="[^"<>]*")*)/?>`)
	attribute = regexp.MustCompile(` ([a-zA-Z-]+)="([^"<>]*)"`)
)

func TestHostileNamesAreInert(t *testing.T) {
	for i, name := range hostileNames {
		b := render(t, NewStatus(monstrous(3, func(int) string { return name })), 30)
		if inert(t, b); strings.Contains(b, "alert(1)>") {
			t.Errorf("name %d is in the page as it is", i)
		}
	}
}

func FuzzHostileNames(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		inert(t, render(t, NewStatus(monstrous(2, func(int) string { return name })), 30))
	})
}

// The header allows the stylesheet of the page, and no other.
func TestContentSecurityPolicy(t *testing.T) {
	b := render(t, NewStatus(healthy()), 30)
	_, rest, _ := strings.Cut(b, "<style>")
	css, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(css))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	if got := ContentSecurityPolicy(); !found || len(css) < 500 || got != want {
		t.Errorf("the header is %s, want %s", got, want)
	}
	for _, word := range []string{"<script", " style=", "javascript:", "http://", "https://", "url(", "@import", "<link", "<img", " onload"} {
		if strings.Contains(b, word) {
			t.Errorf("the page has %s", word)
		}
	}
}

func TestLiveAndSaved(t *testing.T) {
	live, saved := render(t, NewStatus(healthy()), 30), render(t, NewStatus(healthy()), 0)
	for _, word := range []string{`<meta http-equiv="refresh" content="30">`, `href="status.json"`} {
		if !strings.Contains(live, word) || strings.Contains(saved, word) {
			t.Errorf("%s: live %v, saved %v", word, strings.Contains(live, word), strings.Contains(saved, word))
		}
	}
	if !strings.Contains(saved, "saved page, as of 2026-05-04 12:00:00 UTC") {
		t.Error("a saved page does not say so")
	}
}

// A status comes back from JSON as it was, and gives the same page.
func TestStatusDecodesWhole(t *testing.T) {
	for name, in := range map[string]Input{"healthy": healthy(), "exhausted": exhausted(), "storm": logStorm(), "stalled": stalled(), "empty": {}, "hostile": monstrous(30, func(i int) string { return hostileNames[i%len(hostileNames)] })} {
		s := NewStatus(in)
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Read(bytes.NewReader(want))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, _ := json.Marshal(back); !bytes.Equal(got, want) {
			t.Errorf("%s: the status\n%s\ncame back as\n%s", name, want, got)
		}
		if render(t, back, 0) != render(t, s, 0) {
			t.Errorf("%s: the page of the saved status differs", name)
		}
		if bytes.Contains(want, []byte(`"rows":null`)) {
			t.Errorf("%s: a list is null", name)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "it is no JSON"},
		{"<html>", "it is no JSON"},
		{"[]", `its kind is "", want NodeStatus`},
		{"null", `its kind is "", want NodeStatus`},
		{`{"kind":"Report","apiVersion":"nodetune.io/v1alpha1"}`, "it is a Report"},
		{`{"kind":"Pod","apiVersion":"v1"}`, `its kind is "Pod"`},
		{"{\"kind\":\"\x1b[2J\"}", "it is no JSON"},
		{`{"kind":"\u001b[2J"}`, `its kind is "\\x1b[2J"`},
		{`{"kind":"NodeStatus","apiVersion":"nodetune.io/v1","nodetune":"v9.0.0"}`, `its apiVersion is "nodetune.io/v1", and this nodetune reads nodetune.io/v1alpha1: use the nodetune that wrote it, version "v9.0.0"`},
		{`{"kind":"NodeStatus"}`, `its apiVersion is ""`},
		{`{"kind":"NodeStatus","apiVersion":"nodetune.io/v1alpha1","troubles":7}`, "it is no NodeStatus"},
		{`{"kind":"NodeStatus","apiVersion":"nodetune.io/v1alpha1"} x`, "it is no JSON"},
		{`{"kind":"NodeStatus","node":"` + strings.Repeat("x", MaxInput) + `"}`, "it has more than 4 MiB"},
		{strings.Repeat("[", 100_000), "it is no JSON"},
	} {
		_, err := Read(strings.NewReader(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: %v, want %s", tt.in, err, tt.want)
		}
	}
}

// What was written by anybody renders small and inert, or is refused.
func FuzzRead(f *testing.F) {
	for _, in := range []Input{healthy(), exhausted(), stalled()} {
		b, err := json.Marshal(NewStatus(in))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"kind":"NodeStatus","apiVersion":"nodetune.io/v1alpha1","state":"\"><script>","troubles":{"rows":[{"state":"x y","next":"<b>"}],"more":-5},"acts":{"rows":[{"at":"0001-01-01T00:00:00Z","act":"<i>"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		inert(t, render(t, s, 0))
	})
}

// BenchmarkView is what a view costs that no cache answers: the Status and both
// forms, of a usual node and of one where everything is as large as a pass may be.
func BenchmarkView(b *testing.B) {
	for name, in := range map[string]Input{"usual": exhausted(), "monstrous": monstrous(500, func(i int) string { return fmt.Sprintf("name-%d", i) })} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := NewStatus(in)
				if err := Render(io.Discard, s, Options{Refresh: 30}); err != nil {
					b.Fatal(err)
				}
				if _, err := json.Marshal(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
