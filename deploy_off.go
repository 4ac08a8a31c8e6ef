//go:build lambda.norpc

package main

import "github.com/spf13/cobra"

// deployCommands: a function deploys nothing.
func deployCommands(*process) []*cobra.Command { return nil }
