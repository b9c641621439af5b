package manifests_test

import (
	"archive/tar"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Both images are built, twice each, from what is here: the second is the first
// to the byte, and holds one static binary for its architecture.
func TestImages(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			var digests []string
			var archive string
			for i := range 2 {
				archive = filepath.Join(t.TempDir(), fmt.Sprintf("%d.tar", i))
				if out, err := exec.CommandContext(t.Context(), filepath.Join(deploy, "image"), arch, archive, "nodetune.test/nodetune:"+arch).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				digests = append(digests, digest(t, archive))
			}
			if digests[0] != digests[1] {
				t.Errorf("built twice the image is %s and %s", digests[0], digests[1])
			}
			size := look(t, archive, arch, machine)
			t.Logf("%s: %s, %.1f MiB", arch, digests[0], float64(size)/(1<<20))
		})
	}
}

// digest is of all that the archive holds, in order.
func digest(t *testing.T, archive string) string {
	t.Helper()
	h := sha256.New()
	files(t, archive, func(name string, content []byte) {
		fmt.Fprintf(h, "%s %d\n", name, len(content))
		h.Write(content)
	})
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}

// look checks what stands in the image, and returns the size of its binary.
func look(t *testing.T, archive, arch string, machine elf.Machine) int64 {
	t.Helper()
	content := map[string][]byte{}
	files(t, archive, func(name string, b []byte) { content[name] = b })
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(content["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest.json is %s (%v), want one image of one layer", content["manifest.json"], err)
	}
	var config struct {
		Architecture string
		Config       struct {
			User            string
			Entrypoint, Cmd []string
		}
	}
	if err := json.Unmarshal(content[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if c := config.Config; config.Architecture != arch || c.User != "65532:65532" || strings.Join(append(c.Entrypoint, c.Cmd...), " ") != "/nodetune run" {
		t.Errorf("the image's configuration is %+v", config)
	}
	layer := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(layer, content[manifest[0].Layers[0]], 0o600); err != nil {
		t.Fatal(err)
	}
	var size int64
	files(t, layer, func(name string, b []byte) {
		if name != "nodetune" {
			t.Errorf("the image holds %s", name)
			return
		}
		size = int64(len(b))
		binary, err := elf.NewFile(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, _ := binary.ImportedLibraries(); binary.Machine != machine || len(libraries) > 0 || binary.Section(".interp") != nil {
			t.Errorf("the binary is for %s and needs %q, want a static one for %s", binary.Machine, libraries, machine)
		}
	})
	if size == 0 {
		t.Error("the image holds no binary")
	}
	return size
}

// files calls each for the regular files of an archive.
func files(t *testing.T, archive string, each func(name string, content []byte)) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		each(h.Name, b)
	}
}
