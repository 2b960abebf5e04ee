//! Properties over random parameters.

use eps_math::operator::Kernel;
use eps_math::{Interpolant, Schedule};
use proptest::prelude::*;

proptest! {
    #[test]
    fn schedules_fall_strictly_to_zero(
        steps in 1usize..300,
        rho in 0.5f64..12.0,
        sigma_min in 1e-4f64..0.1,
        sigma_max in 0.2f64..150.0,
    ) {
        let mut schedules = vec![
            Schedule::Karras { rho, sigma_min, sigma_max },
            Schedule::LogUniform { sigma_min, sigma_max },
        ];
        for interpolant in [
            Interpolant::Edm,
            Interpolant::vp_linear(),
            Interpolant::vp_cosine(),
            Interpolant::RectifiedFlow,
            Interpolant::Trigonometric,
        ] {
            schedules.push(Schedule::UniformTime { interpolant, sigma_max });
        }
        for schedule in schedules {
            let sigmas = schedule.sigmas(steps).unwrap();
            prop_assert_eq!(sigmas.len(), steps + 1);
            prop_assert_eq!(sigmas[0], sigma_max);
            prop_assert_eq!(sigmas[steps], 0.0);
            prop_assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]));
        }
    }

    #[test]
    fn motion_kernels_are_centred_averages(half in 0usize..10, angle in -10.0f64..10.0) {
        let length = 2 * half + 1;
        let kernel = Kernel::motion(length, angle).unwrap();
        let (taps, columns) = (kernel.taps(), kernel.columns());
        prop_assert!(taps.iter().all(|tap| *tap >= 0.0));
        let moment = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            let weigh = |(i, tap): (usize, &f64)| {
                tap * f((i / columns) as f64 - half as f64, (i % columns) as f64 - half as f64)
            };
            taps.iter().enumerate().map(weigh).sum()
        };
        // Sums of at most 4 · 19 taps with lever arms of up to 9 pixels.
        prop_assert!((moment(&|_, _| 1.0) - 1.0).abs() < 1e-14);
        prop_assert!(moment(&|row, _| row).abs() < 1e-13);
        prop_assert!(moment(&|_, column| column).abs() < 1e-13);
        // The points lie within the half length; bilinear spreading adds at most ¼ on either axis.
        prop_assert!(moment(&|row, column| row * row + column * column) <= (half * half) as f64 + 0.5);
    }
}
