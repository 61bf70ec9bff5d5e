#!/bin/bash
# What DevStack calls the plugin for; the functions are in lib/nova_docker.

_XTRACE_NOVA_DOCKER=$(set +o | grep xtrace)
set +o xtrace

source "$NOVA_DOCKER_DIR/devstack/lib/nova_docker"

if [[ "$1" == "stack" && "$2" == "pre-install" ]]; then
    echo_summary "Installing the Docker Engine"
    install_docker_engine
elif [[ "$1" == "stack" && "$2" == "install" ]]; then
    echo_summary "Installing nova-docker-driver"
    install_nova_docker
elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    echo_summary "Configuring nova-docker-driver"
    start_docker_engine
    # It writes the same file in the background, and one of two would be lost.
    async_wait configure_neutron_nova
    if is_service_enabled n-cpu; then
        configure_nova_docker
    fi
    if is_service_enabled g-api; then
        configure_glance_for_docker
    fi
    if is_service_enabled h-eng; then
        configure_heat_for_docker
    fi
elif [[ "$1" == "stack" && "$2" == "extra" ]]; then
    if is_service_enabled n-api; then
        create_docker_flavors
    fi
    if is_service_enabled g-api; then
        upload_docker_image
    fi
elif [[ "$1" == "stack" && "$2" == "test-config" ]]; then
    if is_service_enabled tempest; then
        configure_tempest_for_docker
    fi
elif [[ "$1" == "unstack" ]]; then
    remove_nova_docker_containers
elif [[ "$1" == "clean" ]]; then
    remove_nova_docker_containers
    cleanup_nova_docker
fi

$_XTRACE_NOVA_DOCKER
