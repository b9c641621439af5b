// Package kernel tests the BPF programs on another kernel, with its verifier and
// its structures, as Debian 12 builds it. It boots that kernel in an emulated machine,
// which needs no KVM.
package kernel

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/errnotest"
)

// tests are those of inotify/bpf that need no other program than holder.
var tests = []string{
	"TestThresholdNotifier", "TestThresholdNotifierTimer", "TestNoThresholdNotifier",
	"TestEveryGenerationNotifies", "TestThresholdNotifierEffectiveUID", "TestChecksPerJiffy",
	"TestAccounts", "TestMoreThanOneRun", "TestWrongTable",
	"TestFailures", "TestFailureWaysWithout",
	"TestWalk", "TestHolder", "TestParts", "TestQueue", "TestWrongWalk", "TestDuplicates", "TestLastPlan",
	"TestOpenFiles", "TestOpenFilesParts", "TestOpenFilesWatches", "TestOpenFilesPrograms",
}

// ways are those of inotify/bpf to see failed calls that each kernel has, and no
// others.
var ways = map[string]string{
	"6.1":  "fexit kretprobe tracepoint",
	"6.12": "fexit kprobe_multi kretprobe tracepoint",
}

// release is the kernel to boot, a file of e2e/bin/kernel. make nodes tries each.
func release(t testing.TB) string {
	t.Helper()
	r := cmp.Or(os.Getenv("NODETUNE_TEST_KERNEL"), "6.1")
	if ways[r] == "" {
		t.Fatalf("NODETUNE_TEST_KERNEL=%s is none of %v", r, slices.Sorted(maps.Keys(ways)))
	}
	return r
}

// setup begins /init of the tests of inotify/bpf. The memory controller is in v1,
// where a process without memory can wait. The files are for watches.
const setup = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp NODETUNE_TEST_PRIVILEGED=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec > /dev/ttyS1 2>&1
cat /proc/version
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/system.slice/bpf.service /sys/fs/cgroup/memory /usr/bin /etc
mount -t cgroup -o memory memory /sys/fs/cgroup/memory
for i in $(seq 1000); do : > /usr/bin/$i; done
echo $$ > /sys/fs/cgroup/system.slice/bpf.service/cgroup.procs
ip link set lo up
ulimit -n 100000
`

// initScript is /init. The gcc of the machine copies holder, which is compiled here.
const initScript = setup + `export NODETUNE_TEST_WAYS="$WAYS"
NODETUNE_TEST_ROUNDS=1000 bpf.test -test.v -test.run "^($TESTS)$"
echo REPORT
nodetune check -o json 2>/dev/null
echo REPORT
poweroff -f
`

const compiler = `#!/bin/sh
while [ $# -gt 1 ]; do shift; done
cat > /dev/null
cp /bin/holder "$1"
`

func TestBPF(t *testing.T) {
	root, bin := machine(t)
	run(t, "gcc", "-static", "-O1", "-pthread", "-o", filepath.Join(bin, "holder"), "../../internal/inotifytest/testdata/holder.c")
	run(t, "go", "-C", "../..", "build", "-o", filepath.Join(bin, "nodetune"), "./cmd/nodetune")
	write(t, filepath.Join(bin, "gcc"), compiler)
	write(t, filepath.Join(root, "init"), strings.NewReplacer("$TESTS", strings.Join(tests, "|"), "$WAYS", ways[release(t)]).Replace(initScript))

	output := boot(t, root)
	version := regexp.MustCompile(`Linux version ` + regexp.QuoteMeta(release(t)) + `\.\S+`).FindString(output)
	if version == "" {
		t.Fatalf("the machine is no Linux %s:\n%s", release(t), output)
	}
	t.Log(version)
	passed := slices.Clone(tests)
	for way := range strings.FieldsSeq(ways[release(t)]) {
		passed = append(passed, "TestFailures/"+way)
		if release(t) == "6.1" { // 6.12 has no memory controller in v1
			passed = append(passed, "TestFailures/"+way+"/"+errnotest.Memory)
		}
	}
	requirePassed(t, output, passed)
	var report struct {
		Inotify struct {
			Source        string `json:"source"`
			HoldersSource string `json:"holders_source"`
		} `json:"inotify"`
	}
	if parts := strings.Split(output, "REPORT\n"); len(parts) != 3 {
		t.Error("the machine printed no report")
	} else if err := json.Unmarshal([]byte(parts[1]), &report); err != nil {
		t.Error(err)
	}
	if report.Inotify.Source != "ebpf" || report.Inotify.HoldersSource != "ebpf_walk" {
		t.Errorf("got sources %+v, want ebpf and ebpf_walk", report.Inotify)
	}
}

// machine makes the root directory of a machine that has busybox and the tests of
// inotify/bpf.
func machine(t testing.TB) (root, bin string) {
	t.Helper()
	root = t.TempDir()
	bin = filepath.Join(root, "bin")
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", "/bin/busybox", bin)
	run(t, "go", "-C", "../..", "test", "-c", "-o", filepath.Join(bin, "bpf.test"), "./inotify/bpf")
	return root, bin
}

// benchScript is /init of BenchmarkFailures.
const benchScript = setup + `bpf.test -test.run '^$' -test.bench '^BenchmarkFailures$' -test.benchtime 1x -test.v
poweroff -f
`

// BenchmarkFailures measures on that kernel what tracing failed calls costs, in each
// way that it has. It prints what BenchmarkFailures of inotify/bpf prints.
func BenchmarkFailures(b *testing.B) {
	root, _ := machine(b)
	write(b, filepath.Join(root, "init"), benchScript)
	output := boot(b, root)
	lines := regexp.MustCompile(`(?m)^BenchmarkFailures/.*ns-.*$`).FindAllString(output, -1)
	for way := range strings.FieldsSeq(ways[release(b)]) {
		if len(lines) == 0 || !strings.Contains(lines[0], "ns-"+way) {
			b.Fatalf("%s was not measured:\n%s", way, output)
		}
	}
	b.Log(strings.Join(lines, "\n"))
	b.ReportMetric(0, "ns/op")
}

// boot runs /init of root and returns what it wrote to ttyS1, where the kernel
// prints nothing between. One thread emulates both CPUs. With two, the kernel can
// hang when it patches its code.
func boot(t testing.TB, root string) string {
	t.Helper()
	dir := t.TempDir()
	initrd, console, results := filepath.Join(dir, "initrd"), filepath.Join(dir, "console"), filepath.Join(dir, "results")
	run(t, "sh", "-c", `cd "$0" && find . | busybox cpio -o -H newc | gzip -1 > "$1"`, root, initrd)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2G",
		"-nodefaults", "-nographic", "-no-reboot", "-serial", "file:"+console, "-serial", "file:"+results,
		"-kernel", filepath.Join("../bin/kernel", release(t)), // make e2e-tools, make nodes
		"-initrd", initrd, "-append", "console=ttyS0 panic=-1 loglevel=6")
	out, err := cmd.CombinedOutput()
	text := readText(t, results)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the kernel's console ends with:\n%s", lastBytes(readText(t, console), 2000))
		}
	})
	if err != nil {
		t.Fatalf("qemu: %v: %s; the tests printed last\n%s", err, out, lastBytes(text, 4000))
	}
	return text
}

// readText reads what a serial port has written, or "" where it has written nothing.
func readText(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Log(err)
	}
	return string(bytes.ReplaceAll(b, []byte("\r"), nil))
}

func lastBytes(text string, n int) string { return text[max(0, len(text)-n):] }

func run(t testing.TB, name string, arg ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, arg...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
