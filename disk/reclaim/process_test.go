package reclaim

import (
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
)

// The processes that other tests of this package start.

func TestHelperWriter(t *testing.T) { disktest.RunWriter(t) }

func TestHelperCollector(t *testing.T) { disktest.RunCollector(t) }
