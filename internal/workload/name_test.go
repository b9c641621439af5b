package workload

import "testing"

func TestName(t *testing.T) {
	for _, tt := range []struct{ namespace, pod, container, unit, want string }{
		{"", "", "", "", ""},
		{"", "", "", "kubelet.service", "kubelet.service"},
		{"", "", "", "a\nb\x1b[2J.service", `a\nb\x1b[2J.service`},
		{"logging", "fb", "", "", "logging/fb"},
		{"logging", "fb", "agent", "", "logging/fb:agent"},
		{"logging", "fb", "agent", "kubelet.service", "logging/fb:agent"},
		{"logging", "", "agent", "cron.service", "cron.service"},
		{"n\x1b", "p", "c", "", `n\x1b/p:c`},
	} {
		if got := Name(tt.namespace, tt.pod, tt.container, tt.unit); got != tt.want {
			t.Errorf("Name(%q, %q, %q, %q) = %q, want %q", tt.namespace, tt.pod, tt.container, tt.unit, got, tt.want)
		}
	}
}
