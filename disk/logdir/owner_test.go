package logdir

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// A directory of logs may be written by root and by daemons, as its owner, its
// group, or by an access control list that setfacl(1) sets.
func TestWhoMayWriteALogDirectory(t *testing.T) {
	privtest.Root(t)
	for name, c := range map[string]struct {
		uid, gid int
		mode     os.FileMode
		acl      string // of setfacl -m
		want     string
	}{
		"Debian":                      {0, 0, 0o755, "", ""},
		"Ubuntu":                      {0, 110, 0o775, "", ""},
		"systemd's journal":           {0, 999, 0o755 | os.ModeSetgid, "g:4:rx,g:1000:rx", ""},
		"people read":                 {0, 1000, 0o750, "", ""},
		"people write":                {0, 1000, 0o770, "", "group 1000"},
		"the group users":             {0, 100, 0o775, "", "group 100"},
		"others write":                {0, 0, 0o777, "", "others"},
		"sticky":                      {0, 0, 0o777 | os.ModeSticky, "", "others"},
		"its owner":                   {1000, 0, 0o755, "", "uid 1000"},
		"a daemon's":                  {110, 4, 0o750 | os.ModeSetgid, "", ""},
		"a person by ACL":             {0, 0, 0o755, "u:1000:rwx", "uid 1000, by its access control list"},
		"a person reads by ACL":       {0, 0, 0o755, "u:1000:rx", ""},
		"a person behind the mask":    {0, 0, 0o755, "u:1000:rwx,m::rx", ""},
		"a daemon by ACL":             {0, 0, 0o755, "u:110:rwx", ""},
		"a group by ACL":              {0, 0, 0o755, "g:1000:rwx", "group 1000, by its access control list"},
		"the directory's group":       {0, 1000, 0o775, "u:110:rx", "group 1000"},
		"the directory's group reads": {0, 1000, 0o755, "u:110:rwx", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "var/log")
			disktest.Must(t, os.MkdirAll(dir, 0o755))
			disktest.Must(t, os.Chown(dir, c.uid, c.gid))
			disktest.Must(t, os.Chmod(dir, c.mode))
			if c.acl != "" {
				if out, err := exec.Command("setfacl", "-m", c.acl, dir).CombinedOutput(); err != nil {
					t.Fatalf("setfacl: %v: %s", err, out)
				}
			}
			d, err := OpenDir(hostfs.Root(disktest.OpenRoot(t, root)), []string{"/var/log"}, "/var/log")
			if err == nil {
				d.Close()
			}
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), " can be written by "+c.want+" (")):
				t.Errorf("%v, want a refusal for %q", err, c.want)
			}
		})
	}
}

// Whatever is in an access control list, it is read to its end and no further.
func FuzzACL(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\xe8\x03\x00\x00"), uint32(0))
	f.Fuzz(func(t *testing.T, acl []byte, gid uint32) {
		who := aclStranger(acl, gid)
		if who != "" && len(acl) < 12 {
			t.Errorf("%q in a list without an entry", who)
		}
	})
}
