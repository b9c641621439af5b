package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/reporter/fleet"
)

const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"nothing to hide at /var/log/pods", "nothing to hide at /var/log/pods"},
		{"Authorization: Bearer " + jwt, "Authorization: Bearer REDACTED"},
		{"token is " + jwt + ".", "token is REDACTED."},
		{"authorization: basic dXNlcjpwYXNz", "authorization: basic REDACTED"},
		{"password=hunter2 next", "password=REDACTED next"},
		{`{"password":"hunter2","a":1}`, `{"password":"REDACTED","a":1}`},
		{`{"msg":"{\"token\":\"abc\"}"}`, `{"msg":"{\"token\":\"REDACTED\"}"}`},
		{"API_KEY: abc", "API_KEY: REDACTED"},
		{"postgres://user:pass@db/x", "postgres://user:REDACTED@db/x"},
		{"https://host:443/path", "https://host:443/path"},
		{"AKIAIOSFODNN7EXAMPLE", "REDACTED"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter", "REDACTED\nafter"},
		{"-----BEGIN PRIVATE KEY-----\ncut off", "REDACTED"},
		{"admin: $2y$10$" + strings.Repeat("a", 53), "admin: REDACTED"},
		{"tokens are not shown", "tokens are not shown"},
	} {
		if got := string(Text([]byte(tt.in))); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestJSONStaysJSON(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"token":null,"automountServiceAccountToken":true}`, `{"automountServiceAccountToken":true,"token":null}`},
		{`{"clientSecret":"x","secretName":"nodetune-tls"}`, `{"clientSecret":"REDACTED","secretName":"nodetune-tls"}`},
		{`{"tokens":["a"],"token":["a",{"b":"c"}]}`, `{"token":["REDACTED",{"b":"c"}],"tokens":["a"]}`},
		{`{"n":4026531837000000001,"m":"` + jwt + `"}`, `{"m":"REDACTED","n":4026531837000000001}`},
		{`{"password":""}`, `{"password":""}`},
	} {
		var got bytes.Buffer
		if err := json.Compact(&got, JSON([]byte(tt.in))); err != nil || got.String() != tt.want {
			t.Errorf("%s: %v: got %s, want %s", tt.in, err, &got, tt.want)
		}
	}
}

// What is redacted once stays as it is, and JSON stays JSON.
func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"token":"x"}`))
	f.Add([]byte("password: a://b:c@d"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if json.Valid(b) && !json.Valid(JSON(b)) {
			t.Errorf("%q is no JSON any more: %q", b, JSON(b))
		}
		if strings.Contains(string(Text([]byte("x "+jwt+" y"))), jwt) {
			t.Error("the token is there")
		}
	})
}

func TestObjectsHoldNoSecrets(t *testing.T) {
	spec := corev1.PodSpec{
		InitContainers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "A", Value: "s3cret"}}}},
		Containers: []corev1.Container{{Env: []corev1.EnvVar{
			{Name: "DB", Value: "s3cret"},
			{Name: "NODETUNE_PATH_PROCFS", Value: "/host/proc"},
			{Name: "REF", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		}}},
	}
	meta := metav1.ObjectMeta{Name: "n", Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "s3cret"}}
	d := appsv1.DaemonSet{ObjectMeta: meta}
	d.Spec.Template.Spec = spec
	d.Spec.Template.Annotations = meta.Annotations
	for _, o := range []any{
		DaemonSet(d), Pod(corev1.Pod{ObjectMeta: meta, Spec: spec}), Node(corev1.Node{ObjectMeta: meta}), Event(corev1.Event{ObjectMeta: meta}),
		ConfigMap(corev1.ConfigMap{ObjectMeta: meta, BinaryData: map[string][]byte{"a": []byte("s3cret")}}),
	} {
		b, err := json.Marshal(o)
		if err != nil || bytes.Contains(b, []byte("s3cret")) {
			t.Errorf("%T: %v: %s", o, err, b)
		}
	}
	if d.Spec.Template.Spec.Containers[0].Env[0].Value != "s3cret" {
		t.Error("the object of the caller was changed")
	}
	if got := DaemonSet(d).Spec.Template.Spec.Containers[0].Env[1].Value; got != "/host/proc" {
		t.Errorf("a path became %q", got)
	}
}

func TestWriteAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(f, Manifest{Created: time.Unix(1e9, 0), Namespace: "logging"}, 4<<10)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		w.JSON("nodes.json", Nodes{Nodes: []fleet.Node{{Name: "worker-1", State: fleet.OK}}}),
		w.Report("worker-1", []byte(`{"kind":"Report","errors":{"disk":"Bearer `+jwt+`"}}`)),
		w.Text("logs/worker-1/x.log", bytes.Repeat([]byte("x"), 5<<10)),
		w.Report("worker-2", []byte(`{"kind":"Report"}`)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	omitted, err := w.Close()
	if err != nil || len(omitted) != 1 || !strings.HasPrefix(omitted[0], "logs/worker-1/x.log: ") {
		t.Errorf("omitted %q, %v", omitted, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := Open(file)
	if err != nil || b.Manifest.Namespace != "logging" {
		t.Fatalf("%v: %+v", err, b)
	}
	if raw, err := b.Report("worker-1"); err != nil || !bytes.Contains(raw, []byte("Bearer REDACTED")) {
		t.Errorf("%v: %s", err, raw)
	}
	if _, err := b.Report("worker-3"); !errors.Is(err, ErrNoEntry) {
		t.Errorf("a report that is not there: %v", err)
	}
	if n, err := b.Nodes(); err != nil || len(n.Nodes) != 1 || n.Nodes[0].State != fleet.OK {
		t.Errorf("%v: %+v", err, n)
	}
	if names, err := b.Reports(); err != nil || !slices.Equal(names, []string{"worker-1", "worker-2"}) {
		t.Errorf("%v: %q", err, names)
	}
}

type entry struct {
	header tar.Header
	body   string
}

func archive(t *testing.T, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		if e.header.Typeflag == 0 {
			e.header.Typeflag = tar.TypeReg
		}
		e.header.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hostile.tar.gz")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var manifest = entry{tar.Header{Name: "manifest.json"}, `{"kind":"Bundle"}`}

func TestHostileBundles(t *testing.T) {
	for name, file := range map[string]string{
		"no entry":           archive(t),
		"another kind":       archive(t, entry{tar.Header{Name: "manifest.json"}, `{"kind":"Report"}`}),
		"a manifest by link": archive(t, entry{tar.Header{Name: "manifest.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}),
		"a directory":        t.TempDir(),
		"nothing":            filepath.Join(t.TempDir(), "no"),
	} {
		if _, err := Open(file); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	b, err := Open(archive(t, manifest,
		entry{tar.Header{Name: "reports/../../etc/passwd.json"}, "x"},
		entry{tar.Header{Name: "/reports/a.json"}, "x"},
		entry{tar.Header{Name: "reports/\x1b[2J.json"}, "x"},
		entry{tar.Header{Name: "reports/link.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""},
		entry{tar.Header{Name: "reports/large.json"}, strings.Repeat("x", maxEntryBytes+1)},
	))
	if err != nil {
		t.Fatal(err)
	}
	if names, err := b.Reports(); err != nil || !slices.Equal(names, []string{"large"}) {
		t.Errorf("%v: %q", err, names)
	}
	if _, err := b.Report("link"); !errors.Is(err, ErrNoEntry) {
		t.Errorf("a link was read: %v", err)
	}
	if _, err := b.Report("large"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large entry: %v", err)
	}
	b.maxBytes = 1 << 20 // a bomb
	if _, err := b.Reports(); err == nil || !strings.Contains(err.Error(), "holds more than") {
		t.Errorf("a bomb: %v", err)
	}
}
