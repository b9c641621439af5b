package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/sysctl"
)

func parse(b []byte, name string) (Config, error) {
	return ParseParts([]Part{{Name: name, Text: string(b)}}, name)
}

// The commented default is decoded over nothing: a field that it lacks, or that
// says something else than the policies, is a difference.
func TestDefaultYAMLIsTheDefault(t *testing.T) {
	var got Config
	if err := yaml.UnmarshalStrict([]byte(DefaultYAML), &got); err != nil {
		t.Fatal(err)
	}
	text := func(c Config) string {
		b, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b), ": null\n", ": []\n")
	}
	if got, want := text(got), text(Default()); got != want {
		t.Errorf("default.yaml differs from the default policies: mend default.yaml\n--- default.yaml\n%s\n--- policies\n%s", got, want)
	}
	for _, line := range fieldLines(Default()) {
		if !strings.Contains(DefaultYAML, line+":") {
			t.Errorf("default.yaml does not name the field %s", line)
		}
	}
}

// fieldLines returns the name of each field that a configuration may set and
// that is not an option of a rule.
func fieldLines(c Config) []string {
	var names []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
			return
		}
		for sf := range settableFields(t) {
			names = append(names, jsonName(sf))
			walk(sf.Type)
		}
	}
	walk(reflect.TypeOf(c))
	return names
}

func TestDefaultConfigurationIsValid(t *testing.T) {
	c, err := parse([]byte(DefaultYAML), "default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(c.Sysctl, want.Sysctl) {
		t.Errorf("rules:\n%+v\nwant\n%+v", c.Sysctl, want.Sysctl)
	}
}

const head = "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\n"

func TestConfigOverTheProfile(t *testing.T) {
	c, err := parse([]byte(head+`profile: minimal
sysctl:
  rules:
  - key: fs/inotify/max_user_instances
    atLeast: "4096"
  - key: vm.max_map_count
    atLeast: 262144
disk:
  pressure:
    availPercent: 17
`), "x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[sysctl.Key]sysctl.Value)
	for _, r := range c.Sysctl.For(sysctl.Machine{MemoryBytes: 2 << 30}) {
		got[r.Key] = r.Want
	}
	want := map[sysctl.Key]sysctl.Value{sysctl.MaxUserInstances: 4096, sysctl.MaxUserWatches: 131072, "vm.max_map_count": 262144}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("floors %v, want %v", got, want)
	}
	if d := Default().Disk; c.Disk.Pressure.AvailPercent != 17 || c.Disk.Pressure.RecoverAvailPercent != d.Pressure.RecoverAvailPercent || c.Disk.Mode != d.Mode {
		t.Errorf("disk %+v: want availPercent 17 and else the default", c.Disk)
	}
}

func TestConfigRefuses(t *testing.T) {
	rule := func(text string) string { return head + "sysctl:\n  rules:\n  - key: fs.file-max\n    " + text + "\n" }
	for name, test := range map[string]struct{ text, want string }{
		"nothing":         {"", "x.yaml: is empty"},
		"only a comment":  {"# nothing\n", "x.yaml: is empty"},
		"limit of a form": {head + "logErrors: [{program: acme, limit: descriptors, contains: [observer table full]}]\n", `x.yaml:3: logErrors[0]: limit "descriptors": it must be instances or watches`},
		"short form":      {head + "logErrors: [{program: acme, limit: watches, contains: [full]}]\n", "x.yaml:3: logErrors[0]: contains [\"full\"]: 4 characters match too much"},
		"form of none":    {head + "logErrors: [{limit: watches, contains: [observer table full]}]\n", "x.yaml:3: logErrors[0].program: is empty"},
		"a list":          {"- a\n", "x.yaml:1: is a list, want fields: apiVersion"},
		"text":            {"hello\n", "x.yaml:1: is text"},
		"not YAML":        {"a: [\n", "x.yaml: is not YAML"},
		"binary":          {"\x00\x01\xff\xfe\x80", "x.yaml: is not YAML"},
		"NUL in a value":  {head + "profile: \"a\\0b\"\n", `x.yaml:3: profile: "a\x00b" is not a profile`},
		"two documents":   {head + "---\n" + head, "more than one document"},
		"no apiVersion":   {"kind: Configuration\n", `apiVersion: is "", this nodetune reads nodetune.io/v1alpha1`},
		"other version":   {"apiVersion: nodetune.io/v9\nkind: Configuration\n", "x.yaml:1: apiVersion: is"},
		"other kind":      {"apiVersion: nodetune.io/v1alpha1\nkind: Report\n", "x.yaml:2: kind: is"},
		"unknown field":   {head + "sysctls: {}\n", "x.yaml:3: sysctls: is not a field here: want one of apiVersion, kind, profile, sysctl"},
		"other case":      {rule("atleast: 5"), "x.yaml:6: sysctl.rules[0].atleast: is not a field"},
		"duplicate":       {head + "profile: default\nprofile: minimal\n", "x.yaml:4: profile: is there twice, first on line 3"},
		"duplicate below": {rule("atLeast: 5\n    atLeast: 6"), "x.yaml:7: sysctl.rules[0].atLeast: is there twice, first on line 6"},
		"wrong type":      {rule("atLeast: [5]"), "x.yaml:6: sysctl.rules[0].atLeast: is a list, want one value"},
		"text for number": {rule("atLeast: many"), `x.yaml:6: sysctl.rules[0].atLeast: "many" is not a whole number`},
		"past int64":      {rule("atLeast: 9223372036854775808"), "x.yaml:6: sysctl.rules[0].atLeast: \"9223372036854775808\" is past 9223372036854775807"},
		"far past int64":  {rule("atLeast: " + strings.Repeat("9", 500)), "x.yaml:6: sysctl.rules[0].atLeast: "},
		"past uint64":     {rule("atLeast: 18446744073709551616"), "is past 9223372036854775807"},
		"negative":        {rule("atLeast: -1"), "x.yaml:6: sysctl.rules[0].atLeast: \"-1\" is not a whole number"},
		"fraction":        {rule("atLeast: 1.5"), "is not a whole number"},
		"exponent":        {rule("atLeast: 1e3"), "is not a whole number"},
		"octal":           {rule("atLeast: 0o777"), "is not a whole number"},
		"underscore":      {rule("atLeast: 1_000"), "is not a whole number"},
		"empty value":     {rule("atLeast:"), "x.yaml:6: sysctl.rules[0].atLeast: \"\" is not a whole number"},
		"zero":            {rule("atLeast: 0"), "x.yaml:6: sysctl.rules[0].atLeast: 0 would stop"},
		"two operators":   {rule("atLeast: 5\n    reportOnly: true"), "x.yaml:5: sysctl.rules[0]: fs.file-max: want exactly one of"},
		"no operator":     {rule("allowLower: false"), "want exactly one of atLeast, exactly and reportOnly"},
		"exactly":         {rule("exactly: 5"), "x.yaml:6: sysctl.rules[0].exactly: can lower"},
		"not a boolean":   {rule("reportOnly: yes"), "x.yaml:6: sysctl.rules[0].reportOnly: yes is text, want true or false"},
		"not a number":    {head + "disk:\n  pressure:\n    availPercent: .nan\n", "x.yaml:5: disk.pressure.availPercent: \".nan\" is not a number"},
		"duration":        {head + "disk:\n  growthWindow: 120\n", "x.yaml:4: disk.growthWindow: 120 is not a duration"},
		"key":             {head + "sysctl: {rules: [{key: fs/../../etc/passwd, atLeast: 1}]}\n", `x.yaml:3: sysctl.rules[0].key: sysctl key "fs/../../etc/passwd": has a component that would leave /proc/sys`},
		"net key":         {head + "sysctl: {rules: [{key: net.core.somaxconn, atLeast: 1}]}\n", "x.yaml:3: sysctl.rules[0].key: net.core.somaxconn cannot be set by nodetune"},
		"kubelet key":     {head + "sysctl: {rules: [{key: vm.overcommit_memory, atLeast: 1}]}\n", "the kubelet owns it"},
		"key twice":       {head + "sysctl:\n  rules:\n  - {key: fs.file-max, atLeast: 1}\n  - {key: fs/file-max, atLeast: 2}\n", `x.yaml:6: sysctl.rules[1].key: "fs/file-max" has a rule already, rules[0]`},
		"twins":           {head + "sysctl:\n  rules:\n  - {key: user.max_inotify_instances, exactly: 5, allowLower: true}\n", "x.yaml:4: sysctl.rules: with profile default: user.max_inotify_instances and fs.inotify.max_user_instances are one variable"},
		"alias":           {head + "profile: &a default\nsysctl: *a\n", "x.yaml:3: profile: uses an anchor or alias"},
		"bomb":            {head + "sysctl: &a {rules: []}\ninotify: *a\ndisk: *a\n", "uses an anchor or alias"},
		"merge key":       {head + "sysctl:\n  <<: {rules: []}\n", "x.yaml:4: sysctl.<<: is not a field"},
		"key of a list":   {head + "? [a]\n: b\n", "is not a field here"},
		"10 MB":           {head + "# " + strings.Repeat("x", 10<<20), "x.yaml: is larger than"},
		"long name":       {head + strings.Repeat("y", 1000) + ": 1\n", "is not a field here"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Read(strings.NewReader(test.text), "x.yaml")
			if err == nil {
				t.Fatalf("no error: %+v", c)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %.400q\nwant it to contain %q", err, test.want)
			}
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Errorf("the message is long or breaks the terminal: %.300q", err)
			}
		})
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	_, err := parse([]byte(head+"profile: huge\nsysctl:\n  rules:\n  - key: fs.file-max\n    atLeast: 0\n  - key: x\n    atLeast: 1\n"), "x.yaml")
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != 3 {
		t.Errorf("%d problems, want 3:\n%v", n, err)
	}
}

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	b, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validateSchema(s *jsonschema.Schema, text string) error {
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func TestSchema(t *testing.T) {
	s := schema(t)
	for name, text := range map[string]string{
		"default":      DefaultYAML,
		"only a head":  head,
		"empty blocks": head + "sysctl:\ndisk:\n",
		"quoted":       head + "sysctl: {rules: [{key: fs.file-max, atLeast: \"5\"}]}\n",
	} {
		if err := validateSchema(s, text); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
		if _, err := parse([]byte(text), name); err != nil {
			t.Errorf("%s: nodetune refuses it: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"no head":       "profile: default\n",
		"unknown field": head + "sysctls: {}\n",
		"unknown below": head + "disk: {pressure: {avail: 1}}\n",
		"type":          head + "sysctl: {rules: [{key: fs.file-max, atLeast: many}]}\n",
		"boolean":       head + "sysctl: {rules: [{key: fs.file-max, reportOnly: 1}]}\n",
		"duration":      head + "disk: {growthWindow: 120}\n",
	} {
		if err := validateSchema(s, text); err == nil {
			t.Errorf("%s: the schema takes it", name)
		}
		if _, err := parse([]byte(text), name); err == nil {
			t.Errorf("%s: nodetune takes it", name)
		}
	}
}

// Whatever nodetune takes, a second reading of what it took says the same, the
// rules are writable keys with values, and no problem breaks a terminal.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(DefaultYAML))
	f.Add([]byte(head + "sysctl:\n  rules:\n  - key: fs.file-max\n    atLeast: \"5\"\n    memoryPercent: 2\n"))
	f.Add([]byte(head + "disk:\n  pressure:\n    availPercent: 1e1\ninotify:\n  canaryUIDs: [1, 2]\n"))
	f.Add([]byte("a: &a [*a]\n? b\n: - c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parse(b, "x.yaml")
		if err != nil {
			if strings.ContainsAny(err.Error(), "\x00\x1b\r") {
				t.Fatalf("the message breaks a terminal: %q", err)
			}
			if _, ok := errors.AsType[*ReadError](err); ok {
				t.Fatalf("a wrong configuration has the exit code of another failure: %v", err)
			}
			return
		}
		for _, r := range c.Sysctl.For(sysctl.Machine{MemoryBytes: 1 << 36}) {
			if r.Op != sysctl.Report && (r.Want <= 0 || sysctl.CheckKey(r.Key) != nil) {
				t.Fatalf("the rule %+v can be written", r)
			}
		}
		again, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		c2, err := parse(again, "again.yaml")
		if err != nil {
			t.Fatalf("what was taken is refused when written out: %v\n%s", err, again)
		}
		if !reflect.DeepEqual(c.Sysctl, c2.Sysctl) {
			t.Fatalf("%+v is read back as %+v", c.Sysctl, c2.Sysctl)
		}
	})
}
