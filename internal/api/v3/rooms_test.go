package v3_test

import (
	"testing"

	v3 "gantry/internal/api/v3"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"github.com/stretchr/testify/require"
	"os"
)

func TestDoc(t *testing.T) {
	a := v3.New(kit.New(kit.Options{}), v3.Rooms{})
	kittest.Guard(t, a)
	b, err := kit.OpenAPI(a)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("/tmp/rooms-v3.json", b, 0o600))
}
