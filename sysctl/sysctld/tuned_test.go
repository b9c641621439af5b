package sysctld

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/nodetune/nodetune/internal/privtest"
)

func TestTuned(t *testing.T) {
	root := plant(t, map[string]string{
		"/etc/tuned/active_profile": "node extra\n",
		"/etc/tuned/node/tuned.conf": `[main]
summary=ours
include=base, loop
[sysctl]
# ` + q + `=1
` + q + `=20001
kernel.pid_max=4194304
`,
		"/usr/lib/tuned/node/tuned.conf":          "[sysctl]\n" + q + "=1\n",
		"/usr/lib/tuned/profiles/base/tuned.conf": "[sysctl]\nfs/inotify/max_queued_events = \"20000\"\n[vm]\n" + q + "=2\n",
		"/usr/lib/tuned/loop/tuned.conf":          "[main]\ninclude=node\n",
		"/usr/lib/tuned/extra/tuned.conf":         "[main]\ninclude=../../../../etc/secret\n",
	})
	got, err := ReadTuned(root, key)
	if err != nil || got == nil {
		t.Fatal(got, err)
	}
	want := []Setting{
		// node includes loop, which includes the next file of the name node.
		{Place{"/usr/lib/tuned/node/tuned.conf", 2}, q, "1", Overridden, "/etc/tuned/node/tuned.conf:6", "", ""},
		{Place{"/usr/lib/tuned/profiles/base/tuned.conf", 2}, "fs/inotify/max_queued_events", "20000", Overridden, "/etc/tuned/node/tuned.conf:6", "", ""},
		{Place{"/etc/tuned/node/tuned.conf", 6}, q, "20001", Wins, "", "", ""},
	}
	if got.Profile != "node extra" || !slices.Equal(got.Lines, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := ReadTuned(root, "fs/nr_open"); got != nil || err != nil {
		t.Errorf("a key of which it says nothing: %+v, %v", got, err)
	}
	if got, err := ReadTuned(plant(t, nil), key); got != nil || err != nil {
		t.Errorf("without TuneD: %+v, %v", got, err)
	}
}

// TestTunedLanguage: TuneD's variables, modifiers, merging and includes, as
// TuneD 2.20 resolves them.
func TestTunedLanguage(t *testing.T) {
	type set struct {
		value, modifier string
		disposition     Disposition
	}
	for _, c := range []struct {
		name     string
		profiles map[string]string // by path below /etc/tuned or absolute
		want     []set
		most     string
		problems int
	}{
		{name: "a plain value", profiles: map[string]string{"p": "[sysctl]\n" + q + " = 17001\n"}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "raises only", profiles: map[string]string{"p": "[sysctl]\n" + q + "=>17001\n"}, want: []set{{"17001", ">", Wins}}, most: "17001"},
		{name: "raises only, with a blank", profiles: map[string]string{"p": "[sysctl]\n" + q + " = > 17001\n"}, want: []set{{"17001", ">", Wins}}, most: "17001"},
		{name: "lowers only, with a comment", profiles: map[string]string{"p": "[sysctl]\n" + q + " = <17001   # cap\n"}, want: []set{{"17001", "<", Wins}}, most: "unknown"},
		{name: "quotes", profiles: map[string]string{"p": "[sysctl]\n" + q + "=\"17001\"\n"}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "a modifier in quotes", profiles: map[string]string{"p": "[sysctl]\n" + q + "=\">17001\"\n"}, want: []set{{"17001", ">", Wins}}, most: "17001"},
		{name: "a comment that touches the value", profiles: map[string]string{"p": "[sysctl]\n" + q + "=17001#x\n"}, want: []set{{"17001#x", "", Refused}}, most: "unknown"},
		{name: "a variable", profiles: map[string]string{"p": "[sysctl]\n" + q + "=${n}\n[variables]\nn=17001\n"}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "a variable of a variable", profiles: map[string]string{"p": "[variables]\nm=17001\nn=>${m}\n[sysctl]\n" + q + "=${n}\n"}, want: []set{{"17001", ">", Wins}}, most: "17001"},
		{name: "a variable that is defined later", profiles: map[string]string{"p": "[variables]\nn=${m}\nm=17001\n[sysctl]\n" + q + "=${n}\n"}, want: []set{{"${m}", "", Wins}}, most: "unknown"},
		{name: "a variable of the parent", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[variables]\nn=17002\n", "base": "[variables]\nn=17001\n[sysctl]\n" + q + "=${n}\n",
		}, want: []set{{"17002", "", Wins}}, most: "17002"},
		{name: "a file of variables", profiles: map[string]string{
			"p": "[variables]\ninclude=/etc/tuned/p-variables.conf\n[sysctl]\n" + q + "=${n}\n", "/etc/tuned/p-variables.conf": "# x\nn=17001\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "an escaped variable", profiles: map[string]string{"p": "[variables]\nn=1\n[sysctl]\n" + q + "=\\${n}\n"}, want: []set{{"${n}", "", Wins}}, most: "unknown"},
		{name: "a function", profiles: map[string]string{"p": "[sysctl]\n" + q + "=${f:mult:2:3}\n"}, want: []set{{"${f:mult:2:3}", "", Wins}}, most: "unknown"},
		{name: "the child overrides", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[sysctl]\n" + q + "=17002\n", "base": "[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Overridden}, {"17002", "", Wins}}, most: "17002"},
		{name: "the child replaces the section", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[sysctl]\nreplace=1\nvm.swappiness=1\n", "base": "[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Overridden}}, most: "unknown"},
		{name: "the child drops the option", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[sysctl]\ndrop=" + q + "\n", "base": "[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Overridden}}, most: "unknown"},
		{name: "a section that is not enabled", profiles: map[string]string{"p": "[sysctl]\nenabled=false\n" + q + "=17001\n"}, want: []set{{"17001", "", NoEffect}}, most: "unknown"},
		{name: "the child disables the section", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[sysctl]\nenabled=0\n", "base": "[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", NoEffect}}, most: "unknown"},
		{name: "a section of another name", profiles: map[string]string{"p": "[limits]\ntype=sysctl\n" + q + "=17001\n"}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "a section of another plugin", profiles: map[string]string{"p": "[sysctl]\ntype=vm\n" + q + "=17001\n"}},
		{name: "a section for some machines", profiles: map[string]string{"p": "[sysctl]\nuname_regex=el9\n" + q + "=17001\n"}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "a section for some machines leaves the value before", profiles: map[string]string{
			"p": "[sysctl]\n" + q + "=17002\n[more]\ntype=sysctl\ncpuinfo_regex=AMD\n" + q + "=17001\n",
		}, want: []set{{"17002", "", Wins}, {"17001", "", Wins}}, most: "17002"},
		{name: "two spellings, applied in order", profiles: map[string]string{
			"p": "[sysctl]\n" + q + "=17001\nfs/inotify/max_queued_events=17002\n",
		}, want: []set{{"17001", "", Overridden}, {"17002", "", Wins}}, most: "17002"},
		{name: "a floor over a value", profiles: map[string]string{
			"p": "[sysctl]\n" + q + "=17001\nfs/inotify/max_queued_events=>17000\n",
		}, want: []set{{"17001", "", Wins}, {"17000", ">", Wins}}, most: "17001"},
		{name: "a profile includes the vendor's of the same name", profiles: map[string]string{
			"p": "[main]\ninclude=p\n[sysctl]\nvm.swappiness=1\n", "/usr/lib/tuned/p/tuned.conf": "[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "an include that is a function", profiles: map[string]string{
			"p": "[main]\ninclude=${f:virt_check:a:b}\n[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001", problems: 1},
		{name: "an include that may be missing", profiles: map[string]string{
			"p": "[main]\ninclude=-provider\n[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001"},
		{name: "an include that is missing", profiles: map[string]string{
			"p": "[main]\ninclude=provider\n[sysctl]\n" + q + "=17001\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001", problems: 1},
		{name: "a file that TuneD refuses", profiles: map[string]string{
			"p": "[main]\ninclude=base\n[sysctl]\n" + q + "=17001\n", "base": "[sysctl]\nno option\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001", problems: 1},
		{name: "a value over two lines", profiles: map[string]string{"p": "[sysctl]\n" + q + "=\n  17001\n"}, want: []set{{"\n17001", "", Wins}}, most: "17001"},
		{name: "comments by semicolon and hash", profiles: map[string]string{"p": "; x\n[sysctl]\n;" + q + "=1\n#" + q + "=2\n"}},
		{name: "post_loaded_profile comes last", profiles: map[string]string{
			"p": "[sysctl]\n" + q + "=17001\n", "/etc/tuned/post_loaded_profile": "post\n", "/etc/tuned/profiles/post/tuned.conf": "[sysctl]\n" + q + "=17002\n",
		}, want: []set{{"17001", "", Overridden}, {"17002", "", Wins}}, most: "17002"},
		{name: "profile_dirs of tuned-main.conf", profiles: map[string]string{
			"/etc/tuned/tuned-main.conf": "profile_dirs = /usr/lib/tuned,/srv/tuned\n", "/srv/tuned/p/tuned.conf": "[sysctl]\n" + q + "=17001\n",
			"/usr/lib/tuned/p/tuned.conf": "[sysctl]\n" + q + "=17002\n",
		}, want: []set{{"17001", "", Wins}}, most: "17001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"/etc/tuned/active_profile": "p\n"}
			for name, content := range c.profiles {
				if name[0] != '/' {
					name = "/etc/tuned/" + name + "/tuned.conf"
				}
				files[name] = content
			}
			tuned, err := ReadTuned(plant(t, files), key)
			if err != nil {
				t.Fatal(err)
			}
			var got []set
			problems := 0
			if tuned != nil {
				problems = len(tuned.Problems)
				for _, s := range tuned.Lines {
					got = append(got, set{s.Value, s.Modifier, s.Disposition})
				}
			}
			if !slices.Equal(got, c.want) || problems != c.problems {
				t.Errorf("got %q and %d problems, want %q and %d", got, problems, c.want, c.problems)
			}
			if most, _ := tuned.Most(); c.most != "" && most.String() != c.most {
				t.Errorf("leaves at most %s, want %s", most, c.most)
			}
		})
	}
}

// A condition on the machine is told: what it gives here only TuneD knows.
func TestTunedCondition(t *testing.T) {
	tuned, err := ReadTuned(plant(t, map[string]string{
		"/etc/tuned/active_profile": "p\n", "/etc/tuned/p/tuned.conf": "[main]\ninclude=base\n[sysctl]\nuname_regex=el9\n",
		"/usr/lib/tuned/base/tuned.conf": "[sysctl]\ncpuinfo_regex=AMD|Intel\n" + q + "=17001\n",
	}), key)
	if err != nil || tuned == nil || len(tuned.Lines) != 1 || tuned.Lines[0].Reason != "on machines that match uname_regex=el9 and cpuinfo_regex=AMD|Intel" {
		t.Errorf("%+v, %v", tuned, err)
	}
}

// configparser reads each text as TuneD does, with Python's own parser.
const configparser = `
import configparser, json, sys
out = []
for text in json.load(sys.stdin):
    c = configparser.ConfigParser(delimiters=('='), inline_comment_prefixes=('#'), strict=False)
    c.optionxform = str
    try:
        c.read_string(text)
    except configparser.Error:
        out.append(None)
        continue
    out.append([[s, [[o, c.get(s, o, raw=True)] for o in c.options(s)]] for s in c.sections()])
json.dump(out, sys.stdout)
`

// TestTunedConfigparser compares parseTuned with Python's configparser on random
// files.
func TestTunedConfigparser(t *testing.T) {
	privtest.Host(t)
	words := []string{"[sysctl]", "[a b]", "[]", "a", "b=1", " c = 2 # x", "d=#", "e=x#y", "# f=1", ";g=1", "h =\ti", "=j", "\n", "\n", "\n", "\n  ", "\n\t\t", " ", "k=[x]", "[l] x", "m=\"n\"", "o==p", "\r"}
	rnd := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for range 5000 {
		var b strings.Builder
		if rnd.IntN(4) > 0 {
			b.WriteString("[s]\n")
		}
		for range rnd.IntN(12) {
			b.WriteString(words[rnd.IntN(len(words))])
		}
		texts = append(texts, strings.ReplaceAll(b.String(), "\r", ""))
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", configparser)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []any
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		var got any
		if sections, err := parseTuned(strings.NewReader(text), "f"); err == nil {
			all := []any{}
			for _, s := range sections {
				options := []any{}
				for _, o := range s.options {
					options = append(options, []any{o.name, o.value})
				}
				all = append(all, []any{s.name, options})
			}
			got = all
		}
		if !reflect.DeepEqual(got, want[i]) {
			t.Fatalf("%q:\ngot  %q\nwant %q", text, got, want[i])
		}
	}
}

// FuzzParseTuned: an option that is written behind any file that can be read is
// found, and each option names the line that it stands on.
func FuzzParseTuned(f *testing.F) {
	f.Add("[sysctl]\n" + q + "=1\n[main]\ninclude=a,b")
	f.Add("[a]\nb = c # d\n  e\n[a]\nb=f")
	f.Fuzz(func(t *testing.T, content string) {
		lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(content), "\n")
		sections, err := parseTuned(strings.NewReader(content), "f")
		if err != nil {
			return
		}
		for _, s := range sections {
			for _, o := range s.options {
				if l := lines[o.Line-1]; !strings.Contains(l, o.name) {
					t.Errorf("line %d is %q, not %q", o.Line, l, o.name)
				}
			}
		}
		sections, err = parseTuned(strings.NewReader(content+"\n[sysctl]\n"+q+" = 17777 # x\n"), "f")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sections {
			if s.name == "sysctl" && s.find(q) != nil && s.find(q).value == "17777" {
				return
			}
		}
		if strings.ContainsFunc(lines[len(lines)-1], unicode.IsSpace) || strings.ContainsFunc(content, unicode.IsSpace) {
			return // the header can continue an indented value
		}
		t.Errorf("%q hides a section behind it", content)
	})
}
