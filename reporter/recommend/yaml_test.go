package recommend

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Whatever a node, a label and its value are called, the file is YAML with these very
// names and with the rules alone.
func FuzzWritePools(f *testing.F) {
	f.Add("w1", "pool", "gpu")
	f.Add("w1\nsysctl: {}", "a: b # c", "\"'{}[]&*!|>%@`")
	f.Add("\u202eevil\x00\xff", "", strings.Repeat("x", 5000))
	f.Add("", "\x89", "0")
	f.Fuzz(func(t *testing.T, node, label, value string) {
		if len(label) > 317 { // the API server takes no longer label, and YAML no key above 1,024 bytes
			return
		}
		s := NewSample(node, instancesKey)
		s.Needs, s.Reason, s.Value = 5, node+value, 128
		p := Pool{Name: "p", NodeSelector: map[string]string{label: value}, Recommendation: From(1, []Sample{s})}
		var b strings.Builder
		if err := WritePools(&b, []Pool{p, p}); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Pools []struct {
				Name         string
				NodeSelector map[string]string
				Config       struct {
					Sysctl struct {
						Rules []struct {
							Key              string
							AtLeast, Ceiling int64
						}
					}
				}
			}
		}
		if err := yaml.UnmarshalStrict([]byte(b.String()), &got); err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if len(got.Pools) != 2 || len(got.Pools[1].Config.Sysctl.Rules) != 1 || got.Pools[0].Config.Sysctl.Rules[0].AtLeast != 128 || len(got.Pools[0].NodeSelector) != 1 {
			t.Errorf("%+v of\n%s", got, b.String())
		}
		if v, ok := got.Pools[0].NodeSelector[strings.ToValidUTF8(label, "\uFFFD")]; !ok || v != strings.ToValidUTF8(value, "\uFFFD") {
			t.Errorf("the selector is %q, want %q: %q", got.Pools[0].NodeSelector, label, value)
		}
	})
}

// One recommendation is one file, so that a review shows only what changed.
func TestWritePoolsIsStable(t *testing.T) {
	p := Pool{Name: "p", NodeSelector: map[string]string{"zone": "a", "pool": "gpu", "arch": "arm64"}}
	var b strings.Builder
	if err := WritePools(&b, []Pool{p}); err != nil {
		t.Fatal(err)
	}
	if want := "\"arch\": \"arm64\"\n      \"pool\": \"gpu\"\n      \"zone\": \"a\"\n"; !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}
