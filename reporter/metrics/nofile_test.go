package metrics

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestNOFILERaises(t *testing.T) {
	c := NewNOFILERaises()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	values := func() map[string]float64 {
		t.Helper()
		all, err := reg.Gather()
		if err != nil || len(all) != 1 || all[0].GetName() != "nodetune_nofile_raises_total" {
			t.Fatalf("%v, %v", all, err)
		}
		got := map[string]float64{}
		for _, m := range all[0].GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
		return got
	}
	if got := values(); len(got) != 2 || got["success"] != 0 || got["error"] != 0 {
		t.Errorf("before the first raise: %v", got)
	}
	c.Count(nil)
	c.Count(nil)
	c.Count(errors.New("operation not permitted"))
	if got := values(); got["success"] != 2 || got["error"] != 1 {
		t.Errorf("got %v", got)
	}
}
