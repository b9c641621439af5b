package disk

import (
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
)

// What other tests start as processes of their own.
func TestHelperWriter(t *testing.T) { disktest.RunWriter(t) }

func TestHelperReader(t *testing.T) { disktest.RunReader(t) }
