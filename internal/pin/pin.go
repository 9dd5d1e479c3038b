//go:build pin

package pin

import (
	_ "github.com/adhocore/gronx"
	_ "github.com/drone/go-scm/scm"
	_ "github.com/spf13/cobra"
	_ "github.com/wneessen/go-mail"
)
