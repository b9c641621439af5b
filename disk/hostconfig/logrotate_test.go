package hostconfig

import (
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfstest"
)

// logrotateOf reads one file as logrotate's main configuration.
func logrotateOf(s string) logrotateConf {
	return ReadLogrotate(hostfstest.Files{"/etc/logrotate.conf": s}.Files())
}

func TestParseLogrotate(t *testing.T) {
	r := logrotateOf(`# see "man logrotate"
weekly
copytruncate

/var/log/a.log /var/log/b.log {
	nocopytruncate
	postrotate
		echo copytruncate }
	endscript
}
"/var/log/with blank.log"
# between them
'/var/log/c*.log'
{
	rotate 4
	size=100k
}
/one/line { daily nocopytruncate }
nocopytruncate
/comment { # copytruncate postrotate
	compress # copytruncate
}
/wrong { rotate 3 copytruncate }
	maxsize 1G
}
/bad/weekly {
	maxsize 1M
	weekly 9
}
/never/read {
}
`)
	want := []LogrotateStanza{
		{Line: 5, Patterns: []string{"/var/log/a.log", "/var/log/b.log"}, rotation: rotation{Every: "weekly"}},
		{Line: 11, Patterns: []string{"/var/log/with blank.log", "/var/log/c*.log"}, rotation: rotation{Every: "size", size: 100 << 10, Copytruncate: true}},
		{Line: 18, Patterns: []string{"/one/line"}, rotation: rotation{Every: "daily"}},
		{Line: 20, Patterns: []string{"/comment"}, rotation: rotation{Every: "weekly"}},
		{Line: 23, Patterns: []string{"/wrong"}, rotation: rotation{Every: "weekly"}, Skipped: "a directive in it is wrong"},
		{Line: 26, Patterns: []string{"/bad/weekly"}, rotation: rotation{Every: "weekly", maxsize: 1 << 20}, Skipped: "logrotate reads no further in this file"},
	}
	if len(r.Stanzas) != len(want) {
		t.Fatalf("got %+v", r.Stanzas)
	}
	for i, w := range want {
		g := r.Stanzas[i]
		if w.Every != "size" {
			w.size = defaultRotation.size
		}
		if g.Line != w.Line || !slices.Equal(g.Patterns, w.Patterns) || g.rotation != w.rotation || g.Skipped != w.Skipped {
			t.Errorf("stanza %d: %+v, want %+v", i, g, w)
		}
	}
	if len(r.Problems) != 2 || !strings.Contains(r.Problems[0].Message, "/etc/logrotate.conf:23: rotate needs a number") || !strings.Contains(r.Problems[1].Message, ":28: bad weekly") {
		t.Errorf("problems %+v", r.Problems)
	}
	if !want[1].Matches("/var/log/core.log") || want[1].Matches("/var/log/c/x.log") {
		t.Error("patterns match as glob(7)")
	}
}

func TestReadLogrotate(t *testing.T) {
	host := hostfstest.Files{
		"/etc/logrotate.conf":           "copytruncate\ntabooext + .mine\ninclude /etc/logrotate.d\n/in/main {\n}\n",
		"/etc/logrotate.d/nginx":        "/var/log/nginx/*.log { \n daily\n}",
		"/etc/logrotate.d/old.dpkg-old": "/var/log/old {\n daily\n}",
		"/etc/logrotate.d/a.mine":       "/var/log/mine {\n daily\n}",
		"/etc/logrotate.d/rsyslog":      "nocopytruncate\n/var/log/syslog {\n}\ninclude /etc/app.d\n",
		"/etc/logrotate.d/sub/x":        "/var/log/sub {\n}\n", // one level only
		"/etc/logrotate.d/wrong":        "copytruncate\n/var/log/wrong {\n}\n}\n",
		"/etc/app.d/a":                  "/var/log/app[!0-9].log {\n include /etc/common\n}\n",
		"/etc/app.d/b":                  "include /etc/app.d\n", // in a circle
		"/etc/common":                   "maxsize 5M\n",
	}
	got := ReadLogrotate(host.Files())
	var paths []string
	for _, s := range got.Stanzas[:3] {
		paths = append(paths, s.Some())
	}
	if !slices.Equal(paths, []string{"/var/log/nginx/*.log", "/var/log/syslog", "/var/log/app[!0-9].log"}) {
		t.Fatalf("%+v", got)
	}
	if !got.Stanzas[2].Matches("/var/log/appx.log") || got.Stanzas[2].Matches("/var/log/app1.log") || got.Stanzas[2].maxsize != 5<<20 {
		t.Errorf("%+v", got.Stanzas[2])
	}
	if !got.Stanzas[0].Copytruncate || got.Stanzas[1].Copytruncate || got.Stanzas[0].File != "/etc/logrotate.d/nginx" {
		t.Errorf("%+v", got.Stanzas)
	}
	// What a file with an error sets does not outlive it.
	last := got.Stanzas[len(got.Stanzas)-1]
	if last.Some() != "/in/main" || !last.Copytruncate || last.File != "/etc/logrotate.conf" {
		t.Errorf("%+v", last)
	}
	for _, s := range got.Stanzas {
		if s.Matches("/var/log/old") || s.Matches("/var/log/mine") || s.Matches("/var/log/sub") {
			t.Errorf("%+v is read", s)
		}
	}
	if len(got.Problems) == 0 {
		t.Error("an include in a circle and a brace too many are not reported")
	}
}

func TestReadDocker(t *testing.T) {
	for name, tt := range map[string]struct {
		file, cmdline string
		root, driver  string
		size          string
		wrong         bool
	}{
		"nothing":        {"", "", "/var/lib/docker", "json-file", "", false},
		"an empty file":  {" ", "", "/var/lib/docker", "json-file", "", false},
		"data-root":      {`{"data-root":"/mnt/d/"}`, "dockerd", "/mnt/d", "json-file", "", false},
		"graph":          {`{"graph":"/mnt/g"}`, "dockerd", "/mnt/g", "json-file", "", false},
		"by flag":        {"{}", "/usr/bin/dockerd -H fd:// --data-root=/mnt/f --log-opt max-size=9m", "/mnt/f", "json-file", "9m", false},
		"by a short one": {"{}", "dockerd -g /mnt/f --log-driver=local --log-opt=max-size=8m", "/mnt/f", "local", "8m", false},
		"relative":       {`{"data-root":"../x"}`, "", "/x", "json-file", "", false},
		"broken":         {`{"data-root":`, "dockerd --data-root /mnt/f", "/mnt/f", "", "", true},
		"types":          {`{"log-opts":{"max-size":10}}`, "", "/var/lib/docker", "", "", true},
		"a comma":        {`{"log-driver":"local",}`, "", "/var/lib/docker", "", "", true},
	} {
		host := hostfstest.Files{}
		if tt.file != "" {
			host["/etc/docker/daemon.json"] = tt.file
		}
		c, file, err := ReadDocker(host.Files(), hostfstest.Cmdline(tt.cmdline))
		if c.DataRoot != tt.root || c.LogDriver != tt.driver || c.LogOpts["max-size"] != tt.size || (err != nil) != tt.wrong || file != dockerConf {
			t.Errorf("%s: %+v, %s, %v", name, c, file, err)
		}
	}
	c, file, err := ReadDocker(hostfstest.Files{"/d.json": `{"data-root":"/d"}`}.Files(), hostfstest.Cmdline("dockerd --config-file /d.json"))
	if c.DataRoot != "/d" || file != "/d.json" || err != nil {
		t.Errorf("another file: %+v, %s, %v", c, file, err)
	}
}

// Whatever the file says: no pattern without a block, lines are those of the
// file, and a file that is read by itself after it is not changed.
func FuzzLogrotate(f *testing.F) {
	f.Add("/a {\ncopytruncate\n}\n")
	f.Add("{\n{\n}\n\"")
	f.Add("/a {\npostrotate\n}\nendscript\n}\nsize 5\n/b {\n")
	f.Add("/{include")
	f.Add("/a {\nrotate x\n}\ninclude /etc/logrotate.d\ntabooext + x")
	f.Fuzz(func(t *testing.T, s string) {
		r := ReadLogrotate(hostfstest.Files{"/etc/logrotate.conf": "include /first\ninclude /second\n", "/first": s, "/second": "/z/*.log {\nsize 7k\nnocopytruncate\n}\n"}.Files())
		lines, found := strings.Count(s, "\n")+1, false
		for _, x := range r.Stanzas {
			if x.File == "/second" {
				found = true
				if !x.Matches("/z/a.log") || x.size != 7<<10 || x.Every != "size" || x.Copytruncate {
					t.Fatalf("%+v", x)
				}
				continue
			}
			if x.Line < 1 || x.Line > lines || x.File != "/first" {
				t.Fatalf("line %d of %d in %s", x.Line, lines, x.File)
			}
		}
		// A file that is included again is read again, up to maxNesting.
		if n := strings.Count(s, "{"); len(r.Stanzas) > n+1 && !strings.Contains(s, "include") {
			t.Fatalf("%d stanzas from %d braces", len(r.Stanzas), n)
		}
		if !found && !strings.Contains(s, "/second") && !strings.Contains(s, "taboo") && !strings.Contains(s, "/first") {
			t.Fatalf("the file after it is not read: %+v", r)
		}
	})
}
