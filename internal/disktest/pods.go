package disktest

import (
	"os"
	"path/filepath"
	"testing"
)

// The log directories of two containers, below /var/log/pods.
const (
	PodA = "prod_web-7d4b9_11111111-2222-3333-4444-555555555555/app"
	PodB = "prod_db-0_99999999-2222-3333-4444-555555555555/db"
)

// PodLog makes the directory of a container's log below root and returns the
// log's path, on the host and here.
func PodLog(t testing.TB, root, name string) (rel, file string) {
	t.Helper()
	rel = "/var/log/pods/default_" + name + "_11111111-2222-3333-4444-555555555555/" + name + "/0.log"
	file = filepath.Join(root, rel)
	Must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	return rel, file
}

// PodUID returns the UID of a pod of these tests.
func PodUID(n int) string { return "11111111-2222-3333-4444-55555555555" + string(rune('0'+n)) }
