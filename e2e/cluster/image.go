package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Images that every cluster has. No registry is asked: pods use
// imagePullPolicy: Never.
const (
	PauseImage = "nodetune.test/pause:1"
	// ShellImage is busybox: sh, sleep, cat and the rest.
	ShellImage = "nodetune.test/shell:1"
)

// An Image is a single layer made of files of this machine.
type Image struct {
	Name       string            // with tag
	Files      map[string]string // path in the image: file on this machine
	Links      map[string]string // path in the image: target of a symbolic link
	Text       map[string]string // path in the image: content
	Entrypoint []string
	Env        []string
}

// FromPrograms returns an image with programs of this machine and the shared
// libraries they need, at the same paths.
func FromPrograms(name string, programs ...string) (Image, error) {
	img := Image{Name: name, Files: map[string]string{}}
	for _, p := range programs {
		img.Files[p] = p
		out, err := exec.Command("ldd", p).CombinedOutput()
		if err != nil {
			if bytes.Contains(out, []byte("not a dynamic executable")) {
				continue
			}
			return Image{}, fmt.Errorf("ldd %s: %w: %s", p, err, out)
		}
		for _, m := range library.FindAllStringSubmatch(string(out), -1) {
			img.Files[m[1]] = m[1]
		}
	}
	return img, nil
}

// library matches the path in a line of ldd(1):
// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)".
var library = regexp.MustCompile(`(/\S+) \(0x`)

// loadBaseImages imports the pause container and the shell.
func (c *Cluster) loadBaseImages(ctx context.Context) error {
	const busybox = "/bin/busybox"
	out, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	shell := Image{Name: ShellImage, Files: map[string]string{busybox: busybox}, Links: map[string]string{}, Entrypoint: []string{"/bin/sh"}}
	for _, applet := range strings.Fields(string(out)) {
		if applet != "busybox" {
			shell.Links["/bin/"+applet] = busybox
		}
	}
	pause := Image{Name: PauseImage, Files: shell.Files, Entrypoint: []string{busybox, "sleep", "2147483647"}}
	for _, img := range []Image{pause, shell} {
		if err := c.LoadImage(ctx, img); err != nil {
			return err
		}
	}
	return nil
}

// LoadImage imports img into the node's containerd.
func (c *Cluster) LoadImage(ctx context.Context, img Image) error {
	archive, err := os.CreateTemp(c.dir, "image-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(archive.Name()) }()
	if err := img.write(archive); err != nil {
		return fmt.Errorf("make image %s: %w", img.Name, err)
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return c.LoadArchive(ctx, archive.Name())
}

// LoadArchive imports an image archive (docker or OCI) into containerd.
func (c *Cluster) LoadArchive(ctx context.Context, archive string) error {
	if out, err := ctr(ctx, "images", "import", archive); err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, out)
	}
	return nil
}

// write writes img in the format of docker save.
func (img Image) write(w io.Writer) error {
	var layer bytes.Buffer
	if err := img.layer(&layer); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": img.Entrypoint, "Env": append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, img.Env...)},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{img.Name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{{"manifest.json", manifest}, {"config.json", config}, {"layer.tar", layer.Bytes()}} {
		if err := addFile(t, f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	return t.Close()
}

func (img Image) layer(w io.Writer) error {
	t := tar.NewWriter(w)
	names := []string{"/tmp", "/etc"} // directories that programs expect
	for _, m := range []map[string]string{img.Files, img.Links, img.Text} {
		for name := range m {
			names = append(names, name)
			for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
				names = append(names, dir)
			}
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		rel := strings.TrimPrefix(name, "/")
		var err error
		if target, ok := img.Links[name]; ok {
			err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: rel, Linkname: target, Mode: 0o777})
		} else if text, ok := img.Text[name]; ok {
			err = addFile(t, rel, 0o644, []byte(text))
		} else if file, ok := img.Files[name]; ok {
			err = addFrom(t, rel, file)
		} else {
			err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: rel + "/", Mode: 0o755})
		}
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func addFrom(t *tar.Writer, name, file string) error {
	resolved, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(resolved)
	if err != nil {
		return err
	}
	return addFile(t, name, 0o755, b)
}

func addFile(t *tar.Writer, name string, mode int64, data []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}
