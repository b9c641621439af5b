package reclaim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// Orphans are the logs of pods that the kubelet does not have and that no process has
// changed for an hour, whatever the number of their containers.
func TestOrphans(t *testing.T) {
	root := t.TempDir()
	host := hostfs.Root(disktest.OpenRoot(t, root))
	old, recent := disktest.Noon.Add(-2*orphanAfter), disktest.Noon.Add(-orphanAfter/2)
	var producers []logs.Producer
	pod := func(n int, name string, changed, logged time.Time, containers ...string) {
		at := "/var/log/pods/default_" + name + "_" + disktest.PodUID(n)
		for _, c := range containers {
			dir := filepath.Join(root, at, c)
			disktest.Must(t, os.MkdirAll(dir, 0o755))
			disktest.Must(t, os.Chtimes(dir, old, old))
			producers = append(producers, logs.Producer{
				Kind: logs.KindContainer, Path: at + "/" + c, Bytes: 10, Newest: logged,
				Workload: workload.Workload{Namespace: "default", Pod: name, PodUID: disktest.PodUID(n), Container: c},
			})
		}
		disktest.Must(t, os.Chtimes(filepath.Join(root, at), changed, changed))
	}
	pod(0, "known", old, old, "app")
	pod(1, "gone", old, old, "app", "sidecar")
	pod(2, "changed", recent, old, "app")
	pod(3, "logging", old, recent, "app")
	producers = append(producers, logs.Producer{Kind: logs.KindFile, Path: "/var/log/syslog", Bytes: 10})

	all := FindOrphans(host, producers, map[string]bool{disktest.PodUID(0): true}, disktest.Noon)
	if len(all) != 1 || all[0].Pod != "gone" || all[0].Bytes != 20 || all[0].Path != "/var/log/pods/default_gone_"+disktest.PodUID(1) || !all[0].Modified.Equal(old) {
		t.Errorf("got %+v", all)
	}
	if all := FindOrphans(host, producers, nil, disktest.Noon); all != nil {
		t.Errorf("the kubelet's pods are not known, and these are called orphans: %+v", all)
	}
	// A directory that cannot be looked at is not judged.
	disktest.Must(t, os.RemoveAll(filepath.Join(root, all[0].Path)))
	for i := range producers {
		producers[i].Newest = time.Time{}
	}
	if all := FindOrphans(host, producers, map[string]bool{disktest.PodUID(0): true}, disktest.Noon); slices.ContainsFunc(all, func(x Orphan) bool { return x.Pod == "gone" }) {
		t.Errorf("got %+v", all)
	}
}

// What the runtime has a sandbox of stays, and so does everything while it does
// not answer.
func TestOrphansOfTheRuntime(t *testing.T) {
	root := t.TempDir()
	name := func(n int) string { return "default_web_" + disktest.PodUID(n) }
	for n := range 2 {
		dir := filepath.Join(root, "var/log/pods", name(n), "app")
		disktest.Must(t, os.MkdirAll(dir, 0o755))
		disktest.WriteFile(t, filepath.Join(dir, "0.log"), "x\n")
	}
	r, err := New("/proc", root, reclaimConfig())
	disktest.Must(t, err)
	defer r.Close()
	r.Sandboxes = func(context.Context, string) (map[string]bool, error) { return nil, errors.New("no answer") }
	if err := r.removeOrphan(t.Context(), "/var/log/pods/"+name(1)); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("the runtime does not answer: %v", err)
	}
	r.Sandboxes = func(context.Context, string) (map[string]bool, error) {
		return map[string]bool{disktest.PodUID(0): true}, nil
	}
	var refused *logdir.SkippedError
	if err := r.removeOrphan(t.Context(), "/var/log/pods/"+name(0)); !errors.As(err, &refused) {
		t.Errorf("the runtime has the pod: %v", err)
	}
	disktest.Must(t, r.removeOrphan(t.Context(), "/var/log/pods/"+name(1)))
	left, err := os.ReadDir(filepath.Join(root, "var/log/pods"))
	disktest.Must(t, err)
	if len(left) != 1 || left[0].Name() != name(0) {
		t.Errorf("left: %v", left)
	}
}
