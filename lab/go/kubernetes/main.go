// Copyright: The slipway authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

// Command kubernetes is every program of a Kubernetes cluster in one file: the name it is called by says which one it is.
// One link step instead of eight, and one image layer for the whole control plane.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func command(c *cobra.Command) func() {
	return func() { os.Exit(cli.Run(c)) }
}

// programs are built lazily: constructing one registers flags and metrics that another would register again.
var programs = map[string]func(){
	"kube-apiserver":          func() { command(apiserver.NewAPIServerCommand())() },
	"kube-controller-manager": func() { command(controllermanager.NewControllerManagerCommand())() },
	"kube-scheduler":          func() { command(scheduler.NewSchedulerCommand())() },
	"kube-proxy":              func() { command(proxy.NewProxyCommand())() },
	"kubelet":                 func() { command(kubelet.NewKubeletCommand(context.Background()))() },
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kubeadm": func() {
		if err := kubeadm.Run(); err != nil {
			kubectlutil.CheckErr(err)
		}
	},
	"kubectl": func() {
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	},
}

func main() {
	name := filepath.Base(os.Args[0])
	if run, ok := programs[name]; ok {
		run()
		return
	}
	known := make([]string, 0, len(programs))
	for p := range programs {
		known = append(known, p)
	}
	sort.Strings(known)
	fmt.Fprintf(os.Stderr, "%s: link this file to one of: %s\n", name, strings.Join(known, ", "))
	os.Exit(2)
}
