// Copyright: The slipway authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

// A device plugin without devices: it offers COUNT names over the kubelet's real socket and hands them to containers in
// FAKE_VISIBLE_DEVICES. NVIDIA_VISIBLE_DEVICES would make NVIDIA's runtime look for a driver.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const resource = "nvidia.com/gpu"

type plugin struct {
	api.UnimplementedDevicePluginServer
	devices []*api.Device
	done    chan struct{}
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-stream.Context().Done():
	}
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"FAKE_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")},
		})
	}
	return answer, nil
}

// serve offers the devices until the kubelet, which empties the folder when it starts, has removed our socket.
func serve(folder string, devices []*api.Device) error {
	path := filepath.Join(folder, "fake-gpu.sock")
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	p := &plugin{devices: devices, done: make(chan struct{})}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	defer server.Stop()
	defer close(p.done)
	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: filepath.Base(path), ResourceName: resource}
	if _, err := api.NewRegistrationClient(connection).Register(ctx, request); err != nil {
		return err
	}
	log.Printf("registered %d devices of %s", len(devices), resource)
	for {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("the kubelet has started anew")
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func main() {
	count, err := strconv.Atoi(os.Getenv("COUNT"))
	if err != nil {
		count = 2
	}
	var devices []*api.Device
	for i := range count {
		devices = append(devices, &api.Device{ID: fmt.Sprintf("GPU-%08d", i), Health: api.Healthy})
	}
	for {
		log.Print(serve(api.DevicePluginPath, devices))
		time.Sleep(time.Second)
	}
}
