package sysctl

import (
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for name, want := range map[string]struct {
		key  Key
		path string
	}{
		"fs.file-max":                          {"fs.file-max", "fs/file-max"},
		"fs/file-max":                          {"fs.file-max", "fs/file-max"},
		"fs/inotify/max_user_instances":        {MaxUserInstances, "fs/inotify/max_user_instances"},
		"net.ipv4.conf.eth0/100.forwarding":    {"net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"},
		"net/ipv4/conf/eth0.100/forwarding":    {"net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"},
		"kernel.a" + strings.Repeat("b", 254):  {Key("kernel.a" + strings.Repeat("b", 254)), "kernel/a" + strings.Repeat("b", 254)},
		"net/ipv4/conf/.eth0/forwarding":       {"net.ipv4.conf./eth0.forwarding", "net/ipv4/conf/.eth0/forwarding"},
		"net.ipv4.conf.a/b/c.forwarding":       {"net.ipv4.conf.a/b/c.forwarding", "net/ipv4/conf/a.b.c/forwarding"},
		"fs/file-max.":                         {"fs.file-max/", "fs/file-max."},
		"net.ipv4.conf.default/.x.forwarding.": {},
	} {
		k, err := ParseKey(name)
		if want.key == "" {
			if err == nil {
				t.Errorf("ParseKey(%q) = %q, want an error", name, k)
			}
			continue
		}
		if err != nil || k != want.key || k.Path() != want.path {
			t.Errorf("ParseKey(%q) = %q (path %q), %v, want %q (path %q)", name, k, k.Path(), err, want.key, want.path)
		}
	}
}

var hostileNames = []string{
	"", ".", "..", "/", "//", "fs", "/fs/file-max", ".fs.file-max", "fs..file-max", "fs//file-max",
	"fs/../../etc/passwd", "../fs/file-max", "fs/..", "fs/./file-max", "fs.//.//.x", "fs./.x", "fs.//.file-max",
	"fs.file-max\x00", "fs.\x00", "fs.file-max\n", "fs.file-max\nnet.ipv4.ip_forward", "fs.file max", "fs.\x1b[31m",
	"fs.fil\xff", "fs.größe", "fs.file-max.", "fs/file-max/",
	"fs." + strings.Repeat("a", 256), strings.Repeat("a.", 3000) + "b", "fs." + strings.Repeat("x", 10<<20),
}

func TestParseKeyRefusesHostileNames(t *testing.T) {
	for _, name := range hostileNames {
		k, err := ParseKey(name)
		if err == nil {
			t.Errorf("ParseKey(%.40q) = %q, want an error", name, k)
			continue
		}
		if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x00\n\x1b") {
			t.Errorf("ParseKey(%.40q): the message is long or breaks the terminal: %.200q", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, name := range append(hostileNames[:len(hostileNames)-2], "fs.file-max", "net/ipv4/conf/eth0.100/forwarding") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		k, err := ParseKey(name)
		if err != nil {
			return
		}
		path := k.Path()
		for part := range strings.SplitSeq(path, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\x00\n ") {
				t.Fatalf("ParseKey(%q) leads to %q", name, path)
			}
		}
		for _, again := range []string{string(k), path} {
			if got, err := ParseKey(again); err != nil || got != k {
				t.Fatalf("ParseKey(%q) = %q, but its spelling %q parses to %q, %v", name, k, again, got, err)
			}
		}
	})
}
